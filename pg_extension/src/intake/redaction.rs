//! Applies redactions of remote events, when both the redaction and its target are stored, whichever is
//! stored first.

use std::rc::Rc;

use matriarch_rules::{
    Event,
    notifications::{Notifications, may_mention_room},
    power_levels::PowerLevels,
    redaction::applies,
};
use matriarch_wire::Kind;

use crate::{
    intake::judge::Intake,
    room::{
        annotations::{Annotations, thread_root},
        graph_events::GraphEvent,
        redaction::Target,
    },
    trie,
};

const MISSED: &str = "
    insert into missing_redacted_events (room_nid, event_id, redaction_nid) values ($1, $2, $3)
    on conflict do nothing";

const FOUND: &str = "
    delete from missing_redacted_events where room_nid = $1 and event_id = $2 returning redaction_nid";

impl Intake<'_, '_> {
    /// Applies an accepted redaction to its target, or records it until the target is stored.
    pub(super) fn apply_redaction(&mut self, redaction: &GraphEvent) {
        let event = Rc::clone(&redaction.event);
        let Some(target_id) = event.redacts(self.room.version) else { return };
        self.flush();
        match Target::find(self.room, target_id) {
            Some(target) => self.redact(redaction, &target),
            None => {
                let args = [self.room.nid.into(), target_id.into(), redaction.nid.into()];
                self.room.db.execute(MISSED, &args);
                self.writer.missed_targets.insert(target_id.to_owned());
            }
        }
    }

    /// Applies the redactions that were stored before this event.
    pub(super) fn apply_missed_redactions(&mut self, event: &GraphEvent) {
        let event_id = event.event.event_id();
        if !self.writer.missed_targets.remove(event_id) {
            return;
        }
        self.flush();
        let args = [self.room.nid.into(), event_id.into()];
        let mut redactions: Vec<i64> =
            self.room.db.query(FOUND, &args).map(|row| row.get("redaction_nid")).collect();
        redactions.sort_unstable();
        for nid in redactions {
            if let Some(target) = Target::find(self.room, event_id) {
                let redaction = self.events.get(nid);
                self.redact(&redaction, &target);
            }
        }
    }

    fn redact(&mut self, redaction: &GraphEvent, target: &Target) {
        // A redaction cannot be undone if it turns out not to be allowed. So it is applied when the room is
        // whole.
        if self.room.header.partial {
            return;
        }
        let version = self.room.version;
        let allowed = redaction
            .state_before
            .and_then(|root| {
                self.levels_at(root, |levels| applies(version, &redaction.event, target.event(), levels))
            })
            .unwrap_or(false);
        if allowed {
            self.room.redact(target, redaction.nid);
            self.events.forget(target.nid());
        }
    }

    /// The annotations of an accepted event of the timeline.
    pub(super) fn annotations(&self, event: &GraphEvent) -> Annotations {
        let may_mention_room = || {
            let sender = event.event.sender();
            let allowed = event
                .state_before
                .and_then(|root| self.levels_at(root, |levels| may_mention_room(levels, sender)));
            allowed.unwrap_or(false)
        };
        let notifications = match self.kind {
            Kind::Live | Kind::Relayed => Notifications::of(&event.event, may_mention_room),
            // Old events notify nobody.
            Kind::Backfilled | Kind::Outlier => Notifications::default(),
        };
        // An invalid thread relation counts as none.
        let thread_root_nid = thread_root(self.room.db, self.room.nid, &event.event).ok().flatten();
        Annotations { notifications, thread_root_nid }
    }

    /// Calls `ask` with the power levels of a state. `None` if it has no create event.
    fn levels_at<R>(&self, root: i64, ask: impl FnOnce(&PowerLevels<'_>) -> R) -> Option<R> {
        let at = |event_type: &str| -> Option<Rc<Event>> {
            let nid = trie::get(self.room.db, root, self.keys.get(event_type, "")?)?;
            Some(Rc::clone(&self.events.get(nid).event))
        };
        let create = at("m.room.create")?;
        let current = at("m.room.power_levels");
        Some(ask(&PowerLevels::new(self.room.version, &create, current.as_deref())))
    }
}
