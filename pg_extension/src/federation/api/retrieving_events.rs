//! Serves single events, states and auth chains to other servers. Server-Server API, "Retrieving events" and
//! `GET /event_auth`.

use matriarch_rules::json_text::object_text;
use pgrx::pg_extern;

use super::{asked_room, auth_chain, pdus};
use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        signing::Signer,
        spi::{Db, Mode},
    },
    read::stored_event::Events,
    room::Room,
    trie,
};

const ROOM_OF_EVENT: &str = "
    select r.room_id, e.event_nid from events e join rooms r using (room_nid) where e.event_id = $1";

const EVENT: &str = "
    select event_nid, state_before from events where event_id = $2 and room_nid = $1";

const IDS: &str = "
    select e.event_id
    from unnest($1) as wanted (event_nid)
    cross join lateral (select event_id from events where event_nid = wanted.event_nid offset 0) e";

/// `GET /_matrix/federation/v1/event/{eventId}`
#[pg_extern(stable)]
fn federation_event(origin: &str, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let row = db.query_opt(ROOM_OF_EVENT, &[event_id.into()]).ok_or_else(unknown_event)?;
        let mut room =
            asked_room::open_to_former_members(db, origin, &row.get::<String>("room_id"), &[event_id])?;
        let events = Events::new(db);
        let pdus = pdus::for_server(&mut room, origin, &events, &[row.get("event_nid")]);
        let signer = Signer::current(db);
        Ok(Response::new(pdus::transaction(&signer.server_name, pdus)))
    })
}

/// `GET /_matrix/federation/v1/state/{roomId}`
#[pg_extern(stable)]
fn federation_state(origin: &str, room_id: &str, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let (state, chain) = state_before(db, origin, room_id, event_id)?;
        Ok(Response::new(object_text(|body| {
            pdus::write(db, body, "auth_chain", &chain);
            pdus::write(db, body, "pdus", &state);
        })))
    })
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
#[pg_extern(stable)]
fn federation_state_ids(origin: &str, room_id: &str, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let (state, chain) = state_before(db, origin, room_id, event_id)?;
        Ok(Response::new(object_text(|body| {
            body.value("auth_chain_ids", ids(db, chain)).value("pdu_ids", ids(db, state));
        })))
    })
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
#[pg_extern(stable)]
fn federation_event_auth(origin: &str, room_id: &str, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let room = asked_room::open_to_former_members(db, origin, room_id, &[event_id])?;
        let event = find(&room, event_id)?;
        let chain = auth_chain::of(&room, &[event.nid]);
        Ok(Response::new(object_text(|body| pdus::write(db, body, "auth_chain", &chain))))
    })
}

/// The event that a request names.
struct AskedEvent {
    nid: i64,
    state_before: Option<i64>,
}

fn find(room: &Room<'_>, event_id: &str) -> Result<AskedEvent> {
    let row = room.db.query_opt(EVENT, &[room.nid.into(), event_id.into()]).ok_or_else(unknown_event)?;
    Ok(AskedEvent { nid: row.get("event_nid"), state_before: row.opt("state_before") })
}

fn unknown_event() -> MatrixError {
    MatrixError::not_found("The event is not known.")
}

/// The events of the state before an event, and their auth chain.
fn state_before(db: &Db<'_>, origin: &str, room_id: &str, event_id: &str) -> Result<(Vec<i64>, Vec<i64>)> {
    let room = asked_room::open_to_former_members(db, origin, room_id, &[event_id])?;
    room.check_whole()?;
    let root = find(&room, event_id)?
        .state_before
        .ok_or_else(|| MatrixError::not_found("The state before this event is not known."))?;
    let state: Vec<i64> = trie::entries(db, root).into_iter().map(|(_, nid)| nid).collect();
    let chain = auth_chain::of(&room, &state);
    Ok((state, chain))
}

fn ids(db: &Db<'_>, nids: Vec<i64>) -> Vec<String> {
    db.query(IDS, &[nids.into()]).map(|row| row.get("event_id")).collect()
}
