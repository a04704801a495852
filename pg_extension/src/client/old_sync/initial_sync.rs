//! `GET /rooms/{roomId}/initialSync`, still in use for previews of rooms, and the deprecated `GET
//! /initialSync`.

use matriarch_rules::{
    filter::{DEFAULT_LIMIT, MAX_LIMIT, RoomEventFilter},
    json_text::{Object, object_text},
    sync_token::pagination_token,
};
use pgrx::pg_extern;

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
        token,
    },
    client::sync::{
        account_data::{self, GLOBAL},
        out_of_band_memberships::{self, OutOfBand},
        presence,
    },
    read::{
        page::{self, Request},
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        state_list,
        stored_event::{Events, StoredEvent},
        timeline::Direction,
    },
};

/// `GET /rooms/{roomId}/initialSync`
#[pg_extern(stable)]
fn room_initial_sync(token_hash: &[u8], room_id: &str, limit: Option<i64>) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let limit = parse_limit(limit)?;
        let events = Events::new(db);
        let room = ReadableRoom::open(db, &events, &session, room_id)?;
        room.await_whole()?;
        let mut text = String::new();
        write(&mut text, db, &events, &session, &room, limit)?;
        Ok(Response::new(text))
    })
}

const ROOMS: &str = "
    select r.room_id, m.membership, m.event_nid
    from memberships m
    join rooms r on r.room_nid = m.room_nid
    where m.user_nid = $1 and not m.forgotten and not (r.partial and m.membership = 'join')
        and (m.membership in ('join', 'invite') or ($2 and m.membership in ('leave', 'ban')))
    order by r.room_nid";

/// `GET /initialSync`
///
/// With `archived`, also rooms that the user has left. `presence`: whether presence is enabled on this
/// server.
#[pg_extern(stable)]
fn initial_sync(token_hash: &[u8], limit: Option<i64>, archived: bool, presence: bool) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let limit = parse_limit(limit)?;
        let events = Events::new(db);
        let user_nid = session.user_nid;
        let ignored = account_data::ignored(db, vec![user_nid]).remove(&user_nid).unwrap_or_default();
        let is_blocking = !account_data::blocking_invites(db, vec![user_nid]).is_empty();
        let mut rooms = Vec::new();
        for row in db.query(ROOMS, &[session.user_nid.into(), archived.into()]) {
            let (room_id, membership): (String, String) = (row.get("room_id"), row.get("membership"));
            if membership == "invite" {
                let invite = events.get(row.get("event_nid"));
                if !ignored.contains(&invite.sender) && !is_blocking {
                    rooms.push(invited(db, &events, &session, &room_id, &invite));
                }
            } else if let Ok(room) = ReadableRoom::open(db, &events, &session, &room_id) {
                let mut text = String::new();
                write(&mut text, db, &events, &session, &room, limit)?;
                rooms.push(text);
            }
        }
        let mut out_of_band = out_of_band_memberships::all(db, user_nid, archived);
        out_of_band
            .retain(|room| !(ignored.contains(&room.sender) || is_blocking && room.membership == "invite"));
        rooms.extend(out_of_band.iter().map(of_out_of_band));
        let presence = if presence { presence::all(db, user_nid, &ignored) } else { Vec::new() };
        let data = account_data::of_rooms(db, &[(user_nid, GLOBAL)]).concat();
        Ok(Response::new(object_text(|body| {
            // The token acknowledges no send-to-device messages, as the response has none.
            body.value("end", token::now(db).acknowledging(Some(0)).to_string());
            body.array("presence", presence).array("rooms", rooms);
            body.array("account_data", data.iter().map(account_data::event));
        })))
    })
}

fn parse_limit(limit: Option<i64>) -> Result<usize> {
    limit.map_or(Ok(DEFAULT_LIMIT), |limit| {
        usize::try_from(limit)
            .map(|limit| limit.min(MAX_LIMIT))
            .map_err(|_| MatrixError::invalid_param("`limit` is negative."))
    })
}

fn invited(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    session: &Session,
    room_id: &str,
    invite: &StoredEvent,
) -> String {
    let renderer = Renderer::new(db, events, Some(room_id));
    let style = Style { device_nid: session.device_nid, filter: None };
    object_text(|room| {
        room.value("room_id", room_id).value("membership", "invite");
        room.raw("invite", &renderer.state_event(invite, None, style));
    })
}

/// A room that this server has not joined.
fn of_out_of_band(room: &OutOfBand) -> String {
    object_text(|info| {
        info.value("room_id", &room.room_id).value("membership", &room.membership);
        match room.membership.as_str() {
            "invite" => {
                info.raw("invite", &room.event().unwrap_or_default());
            }
            _ => {
                info.object("messages", |messages| {
                    messages.value("end", pagination_token(0)).array("chunk", room.event());
                });
            }
        }
    })
}

/// Writes the `RoomInfo` of one room.
fn write(
    out: &mut String,
    db: &Db<'_>,
    events: &Events<'_, '_>,
    session: &Session,
    room: &ReadableRoom,
    limit: usize,
) -> Result<()> {
    let filter = RoomEventFilter::default();
    let (direction, upto) = (Direction::Backward, room.upto());
    let request = Request { direction, from: upto, to: None, limit, filter: &filter, stops_at_gaps: true };
    let mut page = page::read(db, events, room, &request);
    page.events.reverse();
    let state = state_list::all(db, events, room.state()?);
    let renderer = Renderer::new(db, events, Some(&room.room_id));
    renderer.prepare(&[(&room.reader, &page.events)]);
    let style = Style { device_nid: session.device_nid, filter: None };
    let data = account_data::of_rooms(db, &[(session.user_nid, room.room_nid)]).concat();

    let mut info = Object::open(out);
    info.value("room_id", &room.room_id);
    if let Some(membership) = &room.membership {
        info.value("membership", membership);
    }
    info.object("messages", |messages| {
        messages.value("start", pagination_token(page.next.unwrap_or(room.first_pos - 1)));
        messages.value("end", pagination_token(upto));
        messages.array("chunk", page.events.iter().map(|event| renderer.event(event, &room.reader, style)));
    });
    info.array("state", state.iter().map(|event| renderer.state_event(event, Some(&room.reader), style)));
    info.value("visibility", if room.published { "public" } else { "private" });
    info.array("account_data", data.iter().map(account_data::event));
    info.array::<&str>("presence", []);
    info.close();
    Ok(())
}
