//! The members of a room, and the rooms that a user is joined to.

use std::collections::BTreeMap;

use matriarch_rules::json_text::object_text;
use pgrx::pg_extern;
use serde::Serialize;
use serde_json::json;

use crate::{
    base::{
        lookup::joined_room,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode},
        token::{self, Token},
    },
    read::{
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        state_list,
        stored_event::Events,
        timeline::{self, Direction},
    },
    room::{partial::await_whole, state_at::StateAt},
};

/// `GET /rooms/{roomId}/members`
#[pg_extern(stable)]
fn members(
    token_hash: &[u8],
    room_id: &str,
    at: Option<&str>,
    membership: Option<&str>,
    not_membership: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        for membership in [membership, not_membership].into_iter().flatten() {
            if !matches!(membership, "join" | "invite" | "knock" | "leave" | "ban") {
                return Err(MatrixError::invalid_param("There is no such membership."));
            }
        }
        let events = Events::new(db);
        let at = at.map(|at| Token::parse(db, "at", at, &token::now(db))).transpose()?;
        let room = ReadableRoom::open(db, &events, &session, room_id)?;
        room.await_whole()?;
        let state = match at {
            Some(token) => state_at(db, &events, &room, &token)?,
            None => room.state()?,
        };
        // An event is admitted if either of the two parameters admits it.
        let admits = |found: &str| match (membership, not_membership) {
            (None, None) => true,
            (is, is_not) => is.is_some_and(|is| is == found) || is_not.is_some_and(|is_not| is_not != found),
        };
        let mut members = state_list::members(db, &events, room.room_nid, state);
        members.retain(|event| admits(&events.membership(event.event_nid)));
        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        let style = Style { device_nid: session.device_nid, filter: None };
        Ok(Response::new(object_text(|body| {
            body.array(
                "chunk",
                members.iter().map(|event| renderer.state_event(event, Some(&room.reader), style)),
            );
        })))
    })
}

/// The state at the position that a token stands for.
fn state_at(db: &Db<'_>, events: &Events<'_, '_>, room: &ReadableRoom, token: &Token) -> Result<StateAt> {
    let position = room.position_of(db, events, token);
    let range = (position, i64::MIN);
    let newest = timeline::read(db, events, room.room_nid, Direction::Backward, range, 1).pop();
    match newest {
        Some(event) => {
            event.after().ok_or_else(|| MatrixError::not_found("The state at that token is not known."))
        }
        None => Ok(StateAt::EMPTY),
    }
}

const JOINED_MEMBERS: &str = "
    select u.user_id, m.display_name, m.avatar_url
    from memberships m
    join users u on u.user_nid = m.user_nid
    where m.room_nid = $1 and m.membership = 'join'";

/// A member in the response of `joined_members`.
#[derive(Serialize)]
struct RoomMember {
    #[serde(skip_serializing_if = "Option::is_none")]
    display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
}

/// `GET /rooms/{roomId}/joined_members`
#[pg_extern(stable)]
fn joined_members(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let room_nid = joined_room(db, &session, room_id)?;
        await_whole(db, room_nid)?;
        let joined: BTreeMap<String, RoomMember> = db
            .query(JOINED_MEMBERS, &[room_nid.into()])
            .map(|row| {
                (
                    row.get("user_id"),
                    RoomMember { display_name: row.opt("display_name"), avatar_url: row.opt("avatar_url") },
                )
            })
            .collect();
        Ok(Response::json(&json!({ "joined": joined })))
    })
}

const JOINED_ROOMS: &str = "
    select r.room_id
    from memberships m
    join rooms r on r.room_nid = m.room_nid
    where m.user_nid = $1 and m.membership = 'join' and not m.forgotten
    order by r.room_nid";

/// `GET /joined_rooms`
#[pg_extern(stable)]
fn joined_rooms(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let rooms: Vec<String> =
            db.query(JOINED_ROOMS, &[session.user_nid.into()]).map(|row| row.get("room_id")).collect();
        Ok(single("joined_rooms", rooms))
    })
}
