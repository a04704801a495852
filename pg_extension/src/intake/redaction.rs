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
    intake::{judge::Intake, positions::GAP_STEP},
    room::{
        POS_STEP,
        annotations::{Annotations, thread_root},
        graph_events::GraphEvent,
        redaction::{REDACTION, Target, WITHHOLD, target_id},
    },
    trie,
};

const MISSED: &str = "
    insert into missing_redacted_events (room_nid, event_id, redaction_nid) values ($1, $2, $3)
    on conflict do nothing";

const FOUND: &str = "
    delete from missing_redacted_events where room_nid = $1 and event_id = $2 returning redaction_nid";

/// The event is the newest of the timeline from now on.
const SHOW: &str = "
    update events
    set withheld = false, pos = $2, notify_seq = $3, room_root = nullif($4, state_before),
        xid = pg_current_xact_id()
    where event_nid = $1 and withheld and is_live(pos)";

/// Backfilled events are not new to syncs.
const SHOW_BACKFILLED: &str = "update events set withheld = false where event_nid = $1";

impl Intake<'_, '_> {
    /// Applies an accepted redaction to its target, or records it until the target is stored. Clients do not
    /// get it while it has no effect.
    pub(super) fn apply_redaction(&mut self, redaction: &GraphEvent) {
        let event = Rc::clone(&redaction.event);
        if event.event_type() != REDACTION {
            return;
        }
        self.flush();
        let applied = match target_id(&event, self.room.version) {
            Some(target_id) => match Target::find(self.room, target_id) {
                Some(target) => self.redact(redaction, &target),
                None => {
                    let args = [self.room.nid.into(), target_id.into(), redaction.nid.into()];
                    self.room.db.execute(MISSED, &args);
                    self.writer.missed_targets.insert(target_id.to_owned());
                    false
                }
            },
            None => false,
        };
        if !applied {
            self.room.db.execute(WITHHOLD, &[redaction.nid.into()]);
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
                if self.redact(&redaction, &target) {
                    self.show(&redaction);
                }
            }
        }
    }

    /// Shows a redaction to clients that was withheld until its target was stored. A live one moves to the
    /// end of the timeline, where syncs find it.
    fn show(&mut self, redaction: &GraphEvent) {
        let step = if self.missing_prevs(redaction).is_empty() { POS_STEP } else { GAP_STEP };
        let header = &mut self.room.header;
        let pos = header.last_pos + step;
        let args = [redaction.nid.into(), pos.into(), header.notify_seq.into(), header.root.into()];
        if self.room.db.execute(SHOW, &args) > 0 {
            header.last_pos = pos;
            header.changed = true;
            self.writer.shown = true;
        } else {
            self.room.db.execute(SHOW_BACKFILLED, &[redaction.nid.into()]);
        }
    }

    /// Applies a redaction to its target, if it may. Returns whether it has an effect.
    fn redact(&mut self, redaction: &GraphEvent, target: &Target) -> bool {
        // A redaction cannot be undone if it turns out not to be allowed. So it is applied when the room is
        // whole.
        if self.room.header.partial {
            return false;
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
        allowed
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
