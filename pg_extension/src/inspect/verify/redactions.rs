//! Checks redactions: accepted ones were applied to their targets, or are kept until their targets are
//! stored. Clients get only those that were applied.

use matriarch_rules::{Event, power_levels::PowerLevels, redaction};

use super::{Verifier, View, events::set_pos, report::Finding};
use crate::room::{
    graph_events::{GraphEvent, Status},
    redaction::{REDACT, REDACTION, WITHHOLD, target_id},
    state_at::StateAt,
};

const IS_REDACTED: &str = "select redacted_by is not null as is_redacted from events where event_nid = $1";

/// Redactions in partial rooms are applied when the room is whole.
const IS_PARTIAL: &str = "select from partial_states where event_nid = $1";

const IS_WITHHELD: &str = "select from events where event_nid = $1 and withheld";

/// The redaction becomes the newest event of the timeline.
const SHOW: &str = "
    update events e
    set withheld = false, room_root = nullif(r.current_root, e.state_before), notify_seq = r.notify_seq
    from rooms r
    where e.event_nid = $1 and r.room_nid = e.room_nid";

const WAITS: &str = "
    select from missing_redacted_events where room_nid = $1 and event_id = $2 and redaction_nid = $3";

const WAIT: &str = "
    insert into missing_redacted_events (room_nid, event_id, redaction_nid) values ($1, $2, $3)";

/// Redactions that are kept although their targets are stored.
const TARGET_IS_STORED: &str = "
    select m.event_id, m.redaction_nid
    from missing_redacted_events m
    join events e on e.event_id = m.event_id and e.room_nid = m.room_nid
    where m.room_nid = $1";

const STOP_WAITING: &str = "
    delete from missing_redacted_events where room_nid = $1 and event_id = $2 and redaction_nid = $3";

impl Verifier {
    /// Checks that an accepted redaction was applied if it had to be, and that clients get it only then.
    pub fn check_redaction(&mut self, view: &View<'_, '_>, redaction: &GraphEvent) {
        let db = view.room.db;
        let is_redaction = redaction.event.event_type() == REDACTION;
        if !is_redaction || redaction.status != Status::Accepted || !self.is_reliable(redaction) {
            return;
        }
        let Some(target_id) = target_id(&redaction.event, view.room.version) else {
            return self.check_withheld(view, redaction, true);
        };
        view.graph.events.load_ids([target_id]);
        let target = view.graph.events.by_id(target_id).filter(|target| target.room_nid == view.room.nid);
        let finding = Finding::new("redaction").event(target_id);
        let Some(target) = target else {
            let args = [view.room.nid.into(), target_id.into(), redaction.nid.into()];
            if db.query_opt(WAITS, &args).is_none() {
                let finding = finding.found("no row of missing_redacted_events").expected("a row");
                if self.report.add(finding.action("added")) {
                    db.execute(WAIT, &args);
                }
            }
            return self.check_withheld(view, redaction, true);
        };
        let waits = db.query_opt(IS_PARTIAL, &[redaction.nid.into()]).is_some();
        if waits || self.damaged.contains(&target.nid) {
            return;
        }
        let Some(applies) = self.applies(view, redaction, &target.event) else { return };
        let is_redacted =
            db.query_opt(IS_REDACTED, &[target.nid.into()]).is_some_and(|row| row.get("is_redacted"));
        if applies && !is_redacted {
            let finding = finding.found("not redacted").expected(redaction.event.event_id());
            if self.report.add(finding.action("redacted")) {
                let json =
                    redaction::redact_exactly(view.room.version, target.event.exact().clone()).to_canonical();
                db.execute(REDACT, &[target.nid.into(), json.into(), redaction.nid.into()]);
                view.graph.events.forget(target.nid);
            }
        }
        self.check_withheld(view, redaction, !applies);
    }

    /// Checks that clients get a redaction, or do not.
    fn check_withheld(&mut self, view: &View<'_, '_>, redaction: &GraphEvent, expected: bool) {
        let db = view.room.db;
        let found = db.query_opt(IS_WITHHELD, &[redaction.nid.into()]).is_some();
        if found == expected {
            return;
        }
        let name = |is_withheld| if is_withheld { "withheld from clients" } else { "shown to clients" };
        let finding = Finding::new("redaction").event(redaction.event.event_id());
        let finding = finding.found(name(found)).expected(name(expected));
        let action = if expected { "withheld" } else { "shown" };
        if !self.report.add(finding.action(action)) {
            return;
        }
        if expected {
            db.execute(WITHHOLD, &[redaction.nid.into()]);
        } else {
            db.execute(SHOW, &[redaction.nid.into()]);
            set_pos(view, redaction.nid);
        }
    }

    /// Whether the state before a redaction allows its sender to redact the target. `None` if that cannot be
    /// computed any more.
    fn applies(&self, view: &View<'_, '_>, redaction: &GraphEvent, target: &Event) -> Option<bool> {
        let before = StateAt::root(redaction.state_before?);
        let at = |event_type: &str| {
            let nid = before.get(view.room.db, view.graph.keys.get(event_type, "")?)?;
            Some(view.graph.events.get(nid))
        };
        let (create, current) = (at("m.room.create")?, at("m.room.power_levels"));
        if ![Some(&create), current.as_ref()].into_iter().flatten().all(|event| self.is_reliable(event)) {
            return None;
        }
        let version = view.room.version;
        let levels =
            PowerLevels::new(version, &create.event, current.as_ref().map(|current| &*current.event));
        Some(redaction::applies(version, &redaction.event, target, &levels))
    }

    /// Checks that no redaction is kept whose target is stored.
    pub fn check_waiting_redactions(&mut self, view: &View<'_, '_>) {
        for row in view.room.db.query(TARGET_IS_STORED, &[view.room.nid.into()]) {
            let (event_id, redaction_nid): (String, i64) = (row.get("event_id"), row.get("redaction_nid"));
            let finding =
                Finding::new("redaction").event(&event_id).found("a row of missing_redacted_events");
            if self.report.add(finding.expected("no row").action("removed")) {
                let args = [view.room.nid.into(), event_id.into(), redaction_nid.into()];
                view.room.db.execute(STOP_WAITING, &args);
            }
        }
    }
}
