//! `GET /rooms/{roomId}/event/{eventId}`: one event.

use std::rc::Rc;

use pgrx::pg_extern;

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
    },
    read::{
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        stored_event::{Events, StoredEvent},
        visibility,
    },
};

const FIND: &str = "
    select e.event_nid, e.pos, e.origin_server_ts, e.state_before, e.redacted_by, e.device_nid, e.xid,
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, r.room_id
    from events e
    join rooms r on r.room_nid = e.room_nid
    where e.event_id = $1 and ($2::text is null or r.room_id = $2) and e.pos is not null";

/// An event that the asker may see, and its room; 404 `M_NOT_FOUND` for any other, with
/// [`Outcome::Elsewhere`](matriarch_wire::Outcome) where another server may have it. Without a `room_id` the
/// event may be in any room.
pub fn find(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    session: &Session,
    room_id: Option<&str>,
    event_id: &str,
) -> Result<(ReadableRoom, Rc<StoredEvent>)> {
    let unknown = || MatrixError::not_found("There is no such event, or you may not see it.");
    let Some(row) = db.query_opt(FIND, &[event_id.into(), room_id.into()]) else {
        // The event may be in a gap.
        let room = room_id.and_then(|room_id| ReadableRoom::find(db, events, session, room_id));
        let is_searched =
            room.is_some_and(|room| room.has_gaps && room.membership.as_deref() == Some("join"));
        return Err(if is_searched { unknown().or_elsewhere() } else { unknown() });
    };
    let event = events.keep(StoredEvent::read(&row));
    let room_id: String = row.get("room_id");
    let room = ReadableRoom::find(db, events, session, &room_id).ok_or_else(unknown)?;
    visibility::prepare(db, events, &[(&room.reader, std::slice::from_ref(&event))]);
    if room.reader.sees(db, events, &event) { Ok((room, event)) } else { Err(unknown()) }
}

/// `GET /rooms/{roomId}/event/{eventId}`, and without a `room_id` the deprecated `GET /events/{eventId}`
#[pg_extern(stable)]
fn event(token_hash: &[u8], room_id: Option<&str>, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let events = Events::new(db);
        let (room, event) = find(db, &events, &session, room_id, event_id)?;
        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, std::slice::from_ref(&event))]);
        let style = Style { device_nid: session.device_nid, filter: None };
        Ok(Response::new(renderer.event(&event, &room.reader, style)))
    })
}
