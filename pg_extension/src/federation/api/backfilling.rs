//! Reads the event graph from given events backward. Server-Server API, "Backfilling and retrieving missing
//! events".

use matriarch_rules::json_text::object_text;
use pgrx::{Array, pg_extern};

use super::{asked_room, pdus};
use crate::{
    base::{
        request::Body,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        signing::Signer,
        spi::Mode,
    },
    read::stored_event::Events,
};

/// The number of events that one response may have.
const MAX_LIMIT: u64 = 100;
/// The number of events that a request may name in each list.
const MAX_GIVEN: usize = 1_000;
/// The limit of `get_missing_events` if the request has none.
const DEFAULT_LIMIT: u64 = 10;

/// Breadth first: the given events, their previous events, and so on, up to the limit.
const BEFORE: &str = "
    with recursive walk (event_nid, depth, prev_nids) as (
        select e.event_nid, e.depth, e.prev_nids
        from unnest($2) as given (event_id)
        cross join lateral (
            select event_nid, room_nid, depth, prev_nids from events where event_id = given.event_id offset 0
        ) e
        where e.room_nid = $1
        union
        select e.event_nid, e.depth, e.prev_nids
        from walk
        cross join lateral unnest(walk.prev_nids) as prev (event_nid)
        cross join lateral (
            select event_nid, depth, prev_nids from events where event_nid = prev.event_nid offset 0
        ) e
    )
    select event_nid
    from (select event_nid, depth from walk limit $3) found
    order by depth desc, event_nid desc";

/// Like [`BEFORE`], without the given events, the events in `$4`, and events below the depth `$5`.
const MISSING: &str = "
    with recursive walk (event_nid, depth, prev_nids, given) as (
        select e.event_nid, e.depth, e.prev_nids, true
        from unnest($2) as given (event_id)
        cross join lateral (
            select event_nid, room_nid, depth, prev_nids from events where event_id = given.event_id offset 0
        ) e
        where e.room_nid = $1
        union
        select e.event_nid, e.depth, e.prev_nids, false
        from walk
        cross join lateral unnest(walk.prev_nids) as prev (event_nid)
        cross join lateral (
            select event_nid, event_id, depth, prev_nids from events where event_nid = prev.event_nid offset 0
        ) e
        where e.event_id <> all ($4) and e.event_id <> all ($2) and e.depth >= $5
    )
    select event_nid
    from (select event_nid, depth from walk where not given limit $3) found
    order by depth, event_nid";

/// `GET /_matrix/federation/v1/backfill/{roomId}`. Returns the newest events first.
#[pg_extern(stable)]
fn federation_backfill(origin: &str, room_id: &str, event_ids: Array<'_, &str>, limit: i64) -> ResponseRows {
    let event_ids: Vec<&str> = event_ids.iter().flatten().collect();
    respond(Mode::Read, |db| {
        let mut room = asked_room::open_to_members(db, origin, room_id)?;
        check_number(event_ids.len(), "v")?;
        let limit = limit.clamp(0, MAX_LIMIT as i64);
        let args = [room.nid.into(), event_ids.into(), limit.into()];
        let nids: Vec<i64> = db.query(BEFORE, &args).map(|row| row.get("event_nid")).collect();
        let events = Events::new(db);
        let pdus = pdus::for_server(&mut room, origin, &events, &nids);
        let signer = Signer::current(db);
        Ok(Response::new(pdus::transaction(&signer.server_name, pdus)))
    })
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`. Returns the oldest events first.
#[pg_extern(stable)]
fn federation_missing_events(origin: &str, room_id: &str, request: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let request = Body::parse(request)?;
        let latest = event_ids(&request, "latest_events")?;
        let mut room = asked_room::open_to_former_members(db, origin, room_id, &latest)?;
        let earliest = event_ids(&request, "earliest_events")?;
        let limit = request.unsigned("limit")?.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT) as i64;
        let min_depth = request.integer("min_depth")?.unwrap_or(0);
        let args = [room.nid.into(), latest.into(), limit.into(), earliest.into(), min_depth.into()];
        let nids: Vec<i64> = db.query(MISSING, &args).map(|row| row.get("event_nid")).collect();
        let events = Events::new(db);
        let pdus = pdus::for_server(&mut room, origin, &events, &nids);
        Ok(Response::new(object_text(|body| {
            body.array("events", pdus);
        })))
    })
}

/// The ids of an array that stored events can have.
fn event_ids<'b>(request: &'b Body, key: &str) -> Result<Vec<&'b str>> {
    if request.array(key)?.is_none() {
        return Err(MatrixError::missing_param(format!("`{key}` is missing.")));
    }
    let mut ids = request.strings(key)?;
    check_number(ids.len(), key)?;
    // `text` cannot hold U+0000, so no event has such an id.
    ids.retain(|id| !id.contains('\0'));
    Ok(ids)
}

fn check_number(given: usize, key: &str) -> Result<()> {
    match given {
        0..=MAX_GIVEN => Ok(()),
        _ => Err(MatrixError::invalid_param(format!("`{key}` has more than {MAX_GIVEN} events."))),
    }
}
