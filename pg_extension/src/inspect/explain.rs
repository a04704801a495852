//! Explains events and state resolutions: applies the checks again and tells each step.

mod event;
mod resolution;

use std::rc::Rc;

use matriarch_rules::Rejection;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys::panic::ErrorReport};

use crate::{
    base::spi::Db,
    room::{
        Room,
        graph_events::{GraphEvent, GraphEvents},
        resolve::RoomGraph,
        state_keys::StateKeys,
    },
};

const ROOM_OF: &str = "
    select r.room_id from events e join rooms r on r.room_nid = e.room_nid where e.event_id = $1";

/// Calls `work` with the room of these events, which must all be stored and in one room.
///
/// # Errors
///
/// A message for the administrator.
pub(crate) fn in_room_of<R>(
    db: &Db<'_>,
    event_ids: &[&str],
    work: impl FnOnce(&Room<'_>, RoomGraph<'_, '_, '_>, &[Rc<GraphEvent>]) -> R,
) -> Result<R, String> {
    let first = event_ids.first().ok_or("no event is named")?;
    let known = db.query_opt(ROOM_OF, &[(*first).into()]);
    let room_id: String = known.ok_or_else(|| format!("{first} is not known"))?.get("room_id");
    let room = Room::read(db, &room_id).ok_or("the room is not known")?;
    let events = GraphEvents::new(db);
    let keys = StateKeys::new(db, room.nid);
    events.load_ids(event_ids.iter().copied());
    let mut found = Vec::with_capacity(event_ids.len());
    for event_id in event_ids {
        let event = events.by_id(event_id).filter(|event| event.room_nid == room.nid);
        found.push(event.ok_or_else(|| format!("{event_id} is not known in {room_id}"))?);
    }
    Ok(work(&room, RoomGraph::new(&room, &events, &keys), &found))
}

/// Ends the statement with an ERROR.
pub(crate) fn refuse(reason: String) -> ! {
    ErrorReport::new(PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE, reason, "matriarch")
        .report(PgLogLevel::ERROR);
    unreachable!("an ERROR report does not return")
}

/// The columns `rule` and `reason` of a check; both are `None` if the event is allowed.
fn rule_and_reason(verdict: Result<(), Rejection>) -> (Option<String>, Option<String>) {
    match verdict {
        Ok(()) => (None, None),
        Err(rejection) => (Some(rejection.rule.to_owned()), Some(rejection.reason)),
    }
}
