//! Explains the status of an event.

use matriarch_rules::{RoomVersion, event::check_pdu_format, hash};
use pgrx::{iter::TableIterator, name, pg_extern};

use super::{in_room_of, refuse, rule_and_reason};
use crate::{
    base::{connection::connect, spi::Mode},
    intake::Keys,
    room::{
        Room,
        graph_events::{GraphEvent, Status},
        resolve::RoomGraph,
        state_at::StateAt,
    },
};

/// A check of an event, applied again.
struct Check {
    name: &'static str,
    /// `None` if the check could not be applied, or depends on the room's state when the event was received.
    passed: Option<bool>,
    rule: Option<String>,
    reason: Option<String>,
    /// The events that the check read.
    event_nids: Vec<i64>,
}

const STORED: &str = "
    select e.status_reason, x.event_id, e.pos is not null as in_timeline, e.withheld
    from events e
    left join events x on x.event_nid = e.redacted_by
    where e.event_nid = $1";

/// The checks that an event went through on receipt, applied again, and its status.
#[pg_extern(stable)]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn explain_event(
    event_id: &str,
) -> TableIterator<
    'static,
    (
        name!(step, i32),
        name!(check_name, &'static str),
        name!(passed, Option<bool>),
        name!(rule, Option<String>),
        name!(reason, Option<String>),
        name!(event_nids, Vec<i64>),
    ),
> {
    let checks = connect(Mode::Read, |db| {
        in_room_of(db, &[event_id], |room, graph, events| explain(room, graph, &events[0]))
    });
    let checks = checks.unwrap_or_else(|reason| refuse(reason));
    TableIterator::new(
        (1..).zip(checks).map(|(step, check)| {
            (step, check.name, check.passed, check.rule, check.reason, check.event_nids)
        }),
    )
}

fn explain(room: &Room<'_>, graph: RoomGraph<'_, '_, '_>, event: &GraphEvent) -> Vec<Check> {
    let said = |name, passed, reason: Option<String>| Check {
        name,
        passed,
        rule: None,
        reason,
        event_nids: Vec::new(),
    };
    let stored = room.db.query_one(STORED, &[event.nid.into()]);
    let status_reason: Option<String> = stored.opt("status_reason");
    let redacted_by: Option<String> = stored.opt("event_id");

    let format = check_pdu_format(room.version, event.event.exact());
    let mut checks = vec![said("format", Some(format.is_ok()), format.err().map(|error| error.to_string()))];
    checks.push(check_id(room.version, event));

    let keys = Keys::load(room.db, room.version, [&*event.event].into_iter(), Default::default());
    let signatures = keys.check(room.version, &event.event);
    checks.push(match &signatures {
        Ok(_) => said("signatures", Some(true), None),
        Err(reason) => {
            said("signatures", keys.knows(room.version, &event.event).then_some(false), Some(reason.clone()))
        }
    });
    let hash = hash::content_hash_matches(event.event.exact());
    checks.push(match (hash, redacted_by) {
        (true, _) => said("content hash", Some(true), None),
        (false, Some(by)) => said("content hash", None, Some(format!("the event was redacted by {by}"))),
        (false, None) => said("content hash", Some(false), Some("the event was redacted for it".to_owned())),
    });

    graph.events.load(event.auth_nids.iter().copied());
    if let Ok(verified) = signatures {
        let (rule, reason) = rule_and_reason(graph.check_by_auth_events(&event.event, verified));
        let passed = Some(reason.is_none());
        checks.push(Check { name: "auth events", passed, rule, reason, event_nids: event.auth_nids.clone() });
    }
    checks.push(match event.state_before.map(StateAt::root) {
        Some(before) => {
            let used: Vec<i64> = graph.auth_state(&event.event, before).into_values().collect();
            let (rule, reason) = rule_and_reason(graph.check_by_state(&event.event, before));
            Check { name: "state before", passed: Some(reason.is_none()), rule, reason, event_nids: used }
        }
        None => said("state before", None, Some("the state before the event is not known".to_owned())),
    });
    checks.push(match event.status {
        Status::Accepted => said("current state", Some(true), None),
        Status::SoftFailed => said("current state", Some(false), status_reason.clone()),
        Status::Rejected | Status::Outlier => said("current state", None, Some("not asked".to_owned())),
    });
    let status = match event.status {
        Status::Accepted if stored.get("withheld") => "accepted, a redaction without effect: not shown",
        Status::Accepted if stored.get("in_timeline") => "accepted, in the timeline",
        Status::Accepted => "accepted",
        Status::SoftFailed => "soft-failed: stored, not shown",
        Status::Rejected => "rejected: stored, without effect",
        Status::Outlier => "outlier: stored, but not in the graph",
    };
    let reason = match status_reason {
        Some(reason) => format!("{status} ({reason})"),
        None => status.to_owned(),
    };
    checks.push(said("verdict", Some(event.status == Status::Accepted), Some(reason)));
    checks
}

fn check_id(version: &RoomVersion, event: &GraphEvent) -> Check {
    let found = hash::event_id(version, event.event.exact());
    let right = found.as_deref() == Some(event.event.event_id());
    let reason = (!right).then(|| format!("the event\'s JSON gives {}", found.unwrap_or_default()));
    Check { name: "event id", passed: Some(right), rule: None, reason, event_nids: Vec::new() }
}
