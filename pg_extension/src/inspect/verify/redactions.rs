//! Checks redactions: accepted ones were applied to their targets, or are kept until their targets are
//! stored.

use std::rc::Rc;

use matriarch_rules::{
    Event, canonical_json::object_to_canonical_lenient, power_levels::PowerLevels, redaction,
};

use super::{Verifier, View, report::Finding};
use crate::room::{
    graph_events::{GraphEvent, Status},
    redaction::REDACT,
    state_at::StateAt,
};

const IS_REDACTED: &str = "select redacted_by is not null as is_redacted from events where event_nid = $1";

/// Redactions in partial rooms are applied when the room is whole.
const IS_PARTIAL: &str = "select from partial_states where event_nid = $1";

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
    /// Checks that an accepted redaction was applied if it had to be.
    pub fn check_redaction(&mut self, view: &View<'_, '_>, redaction: &GraphEvent) {
        let (db, version) = (view.room.db, view.room.version);
        let redacts = redaction.event.redacts(version).filter(|_| redaction.status == Status::Accepted);
        let Some(target_id) = redacts.filter(|id| !id.contains('\0')) else { return };
        view.graph.events.load_ids([target_id]);
        let target = view.graph.events.by_id(target_id).filter(|target| target.room_nid == view.room.nid);
        let finding = Finding::new("redaction").event(target_id);
        let Some(target) = target else {
            let args = [view.room.nid.into(), target_id.into(), redaction.nid.into()];
            if db.query_opt(WAITS, &args).is_some() {
                return;
            }
            let finding = finding.found("no row of missing_redacted_events").expected("a row");
            if self.report.add(finding.action("added")) {
                db.execute(WAIT, &args);
            }
            return;
        };
        let is_redacted =
            db.query_opt(IS_REDACTED, &[target.nid.into()]).is_some_and(|row| row.get("is_redacted"));
        let waits = db.query_opt(IS_PARTIAL, &[redaction.nid.into()]).is_some();
        if is_redacted
            || waits
            || self.damaged.contains(&target.nid)
            || !self.applies(view, redaction, &target.event)
        {
            return;
        }
        let finding = finding.found("not redacted").expected(redaction.event.event_id());
        if self.report.add(finding.action("redacted")) {
            let json = redaction::redact(version, target.event.json().clone());
            let json = object_to_canonical_lenient(&json);
            db.execute(REDACT, &[target.nid.into(), json.into(), redaction.nid.into()]);
            view.graph.events.forget(target.nid);
        }
    }

    /// Whether the state before a redaction allows its sender to redact the target, as far as it is known.
    fn applies(&self, view: &View<'_, '_>, redaction: &GraphEvent, target: &Event) -> bool {
        let Some(before) = redaction.state_before.map(StateAt::root) else { return false };
        let at = |event_type: &str| {
            let nid = before.get(view.room.db, view.graph.keys.get(event_type, "")?)?;
            Some(view.graph.events.get(nid))
        };
        let (create, current) = (at("m.room.create"), at("m.room.power_levels"));
        let whole = |event: &Rc<GraphEvent>| self.is_reliable(event);
        let Some(create) = create.filter(whole) else { return false };
        if !self.is_reliable(redaction) || current.as_ref().is_some_and(|current| !self.is_reliable(current))
        {
            return false;
        }
        let version = view.room.version;
        let levels =
            PowerLevels::new(version, &create.event, current.as_ref().map(|current| &*current.event));
        redaction::applies(version, &redaction.event, target, &levels)
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
