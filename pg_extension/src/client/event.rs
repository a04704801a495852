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
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, e.withheld, r.room_id
    from events e
    join rooms r on r.room_nid = e.room_nid
    where e.event_id = $1 and ($2::text is null or r.room_id = $2)
        and (e.pos is not null or e.status = outlier() and e.key_idx is not null)";

/// The newer ends of the room's gaps, oldest first. The states there came from other servers.
const GAPS: &str = "
    select distinct e.event_nid, e.pos
    from missing_prev_events m
    cross join lateral (
        select event_nid, pos, state_before from events where event_nid = m.event_nid offset 0
    ) e
    where m.room_nid = $1 and e.pos is not null and e.state_before is not null
    order by e.pos
    limit $2";

/// The number of gaps that are searched for a state with an event.
const MAX_GAPS: i64 = 100;

/// An event that the asker may see.
pub struct Found {
    pub room: ReadableRoom,
    pub event: Rc<StoredEvent>,
    /// For an event that has no position, because it came with a state: the event after a gap that has it in
    /// the state before it, if there is one.
    pub after_gap: Option<Rc<StoredEvent>>,
}

/// An event that the asker may see, and its room; 404 `M_NOT_FOUND` for any other, with
/// [`Outcome::Elsewhere`](matriarch_wire::Outcome) where another server may have it. Without a `room_id` the
/// event may be in any room.
pub fn find(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    session: &Session,
    room_id: Option<&str>,
    event_id: &str,
) -> Result<Found> {
    let unknown = || MatrixError::not_found("There is no such event, or you may not see it.");
    let row = db.query_opt(FIND, &[event_id.into(), room_id.into()]);
    let room_id = row.as_ref().map(|row| row.get("room_id")).or_else(|| room_id.map(str::to_owned));
    let room = room_id.and_then(|room_id: String| ReadableRoom::find(db, events, session, &room_id));
    let room = room.ok_or_else(unknown)?;
    let event = row.map(|row| events.keep(StoredEvent::read(&row)));
    if let Some(event) = event.as_ref().filter(|event| event.pos.is_some()) {
        visibility::prepare(db, events, &[(&room.reader, std::slice::from_ref(event))]);
        if !room.reader.sees(db, events, event) {
            return Err(unknown());
        }
        let mut found = [Rc::clone(event)];
        room.redact_erased(db, events, &mut found);
        let [event] = found;
        return Ok(Found { room, event, after_gap: None });
    }
    if let Some(event) = event {
        let after_gap = gap_with(db, events, &room, &event);
        if after_gap.is_some() || event.is_member(&room.reader.user_id) || is_current(db, &room, &event) {
            return Ok(Found { room, event, after_gap });
        }
    }
    // The event may be in a gap.
    let is_searched = room.has_gaps && room.membership.as_deref() == Some("join");
    Err(if is_searched { unknown().or_elsewhere() } else { unknown() })
}

/// The event after the oldest gap that has this one in the state before it, which the reader may read.
fn gap_with(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room: &ReadableRoom,
    event: &StoredEvent,
) -> Option<Rc<StoredEvent>> {
    let key_idx = event.key_idx?;
    let nids: Vec<i64> =
        db.query(GAPS, &[room.room_nid.into(), MAX_GAPS.into()]).map(|row| row.get("event_nid")).collect();
    events.load(nids.iter().copied());
    nids.into_iter().map(|nid| events.get(nid)).find(|after| {
        let state = after.before();
        state.is_some_and(|state| state.get(db, key_idx) == Some(event.event_nid))
            && room.reader.sees_state_before(db, events, after)
    })
}

/// Whether an event is in the state that the reader may read.
fn is_current(db: &Db<'_>, room: &ReadableRoom, event: &StoredEvent) -> bool {
    let state = room.readable_state();
    state.zip(event.key_idx).is_some_and(|(state, key)| state.get(db, key) == Some(event.event_nid))
}

/// `GET /rooms/{roomId}/event/{eventId}`, and without a `room_id` the deprecated `GET /events/{eventId}`
#[pg_extern(stable)]
fn event(token_hash: &[u8], room_id: Option<&str>, event_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let events = Events::new(db);
        let Found { room, event, .. } = find(db, &events, &session, room_id, event_id)?;
        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, std::slice::from_ref(&event))]);
        let style = Style { device_nid: session.device_nid, filter: None };
        Ok(Response::new(renderer.event(&event, &room.reader, style)))
    })
}
