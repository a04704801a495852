//! `GET /rooms/{roomId}/state…`: the state of a room, or one event of it.

use matriarch_rules::json_text;
use pgrx::pg_extern;

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, respond},
        session::Session,
        spi::Mode,
    },
    read::{
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        state_list,
        stored_event::Events,
    },
};

/// `GET /rooms/{roomId}/state`
#[pg_extern(stable)]
fn room_state(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let events = Events::new(db);
        let room = ReadableRoom::open(db, &events, &session, room_id)?;
        room.await_whole()?;
        let state = state_list::all(db, &events, room.state()?);
        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        let style = Style { device_nid: session.device_nid, filter: None };
        let mut body = String::new();
        json_text::array(
            &mut body,
            state.iter().map(|event| renderer.state_event(event, Some(&room.reader), style)),
        );
        Ok(Response::new(body))
    })
}

const KEY: &str = "select key_idx from room_state_keys where room_nid = $1 and type = $2 and state_key = $3";

/// `GET /rooms/{roomId}/state/{eventType}/{stateKey}`
///
/// `format` is `content` (also when absent) or `event`.
#[pg_extern(stable)]
fn room_state_event(
    token_hash: &[u8],
    room_id: &str,
    event_type: &str,
    state_key: &str,
    format: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let whole = match format {
            None | Some("content") => false,
            Some("event") => true,
            Some(_) => return Err(MatrixError::invalid_param("`format` is neither `content` nor `event`.")),
        };
        let events = Events::new(db);
        let room = ReadableRoom::open(db, &events, &session, room_id)?;
        let state = room.state()?;
        let event = db
            .query_opt(KEY, &[room.room_nid.into(), event_type.into(), state_key.into()])
            .and_then(|row| state.get(db, row.get("key_idx")))
            .map(|nid| events.get(nid));
        if event.is_none() && event_type == "m.room.member" {
            room.await_whole()?;
        }
        let event = event.ok_or_else(|| MatrixError::not_found("The room has no such state."))?;
        if !whole {
            return Ok(Response::new(event.content().to_owned()));
        }
        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, std::slice::from_ref(&event))]);
        let style = Style { device_nid: session.device_nid, filter: None };
        Ok(Response::new(renderer.event(&event, &room.reader, style)))
    })
}
