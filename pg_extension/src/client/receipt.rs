//! Receipts and the fully read marker. Client-Server API, "Receipts", "Read and unread markers".

mod thread;

use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    base::{
        account_data,
        ids::now_ms,
        lookup::joined_room,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
    },
    outbox::{SENDERS, edus},
};

const FULLY_READ: &str = "m.fully_read";

/// An event in the room's timeline.
struct Event {
    event_nid: i64,
    pos: i64,
    event_id: String,
}

const FIND: &str = "
    select event_nid, pos
    from events
    where event_id = $1 and room_nid = $2 and pos is not null and not withheld";

fn find(db: &Db<'_>, room_nid: i64, event_id: String) -> Result<Event> {
    let row = db
        .query_opt(FIND, &[event_id.as_str().into(), room_nid.into()])
        .ok_or_else(|| MatrixError::not_found(format!("The event {event_id} is not in this room.")))?;
    Ok(Event { event_nid: row.get("event_nid"), pos: row.get("pos"), event_id })
}

const WRITE: &str = "
    insert into receipts (room_nid, user_nid, receipt_type, thread_id, event_nid, pos, ts)
    values ($1, $2, $3, $4, $5, $6, (extract(epoch from now()) * 1000)::bigint)
    on conflict (room_nid, user_nid, receipt_type, thread_id) do update
    set event_nid = excluded.event_nid, pos = excluded.pos, ts = excluded.ts, xid = excluded.xid
    where receipts.pos < excluded.pos";

/// Moves a receipt forward; returns whether it moved.
fn write(
    db: &Db<'_>,
    room_nid: i64,
    user_nid: i64,
    receipt_type: &str,
    thread_id: Option<&str>,
    event: &Event,
) -> bool {
    let thread_id = thread_id.unwrap_or_default();
    db.execute(
        WRITE,
        &[
            room_nid.into(),
            user_nid.into(),
            receipt_type.into(),
            thread_id.into(),
            event.event_nid.into(),
            event.pos.into(),
        ],
    ) > 0
}

/// Moves the fully read marker forward; returns whether it moved.
fn write_fully_read(db: &Db<'_>, session: &Session, room_nid: i64, event: &Event) -> bool {
    session.lock_user(db);
    let before = account_data::read(db, session.user_nid, room_nid, FULLY_READ)
        .and_then(|content| serde_json::from_str::<Value>(&content).ok())
        .and_then(|content| Some(content.get("event_id")?.as_str()?.to_owned()))
        .and_then(|event_id| find(db, room_nid, event_id).ok());
    if before.is_some_and(|before| before.pos >= event.pos) {
        return false;
    }
    let content = json!({ "event_id": event.event_id }).to_string();
    account_data::write(db, session.user_nid, room_nid, FULLY_READ, &content);
    true
}

fn check(receipt_type: &str, thread_id: Option<&str>) -> Result<()> {
    match (receipt_type, thread_id) {
        (FULLY_READ, Some(_)) => {
            Err(MatrixError::invalid_param("`thread_id` is not compatible with m.fully_read."))
        }
        (_, Some("")) => Err(MatrixError::invalid_param("`thread_id` must be a non-empty string.")),
        ("m.read" | "m.read.private" | FULLY_READ, _) => Ok(()),
        _ => Err(MatrixError::invalid_param(
            "The receipt type must be m.read, m.read.private or m.fully_read.",
        )),
    }
}

/// `POST /rooms/{roomId}/receipt/{receiptType}/{eventId}` and `POST /rooms/{roomId}/read_markers`
///
/// Sets the receipt of type `receipt_types[n]` (which may be `m.fully_read`) to `event_ids[n]`, all or none.
/// A receipt never moves back.
#[pg_extern(volatile)]
fn set_receipts(
    token_hash: &[u8],
    room_id: &str,
    receipt_types: Vec<String>,
    event_ids: Vec<String>,
    thread_id: Option<&str>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let room_nid = joined_room(db, &session, room_id)?;
        for receipt_type in &receipt_types {
            check(receipt_type, thread_id)?;
        }
        let mut events = Vec::new();
        for event_id in event_ids {
            let event = find(db, room_nid, event_id)?;
            if let Some(thread_id) = thread_id {
                thread::check(db, room_nid, event.event_nid, thread_id)?;
            }
            events.push(event);
        }
        let mut response = Response::empty();
        for (receipt_type, event) in receipt_types.iter().zip(&events) {
            let (room, user) = (room_nid, session.user_nid);
            response = match receipt_type.as_str() {
                FULLY_READ if write_fully_read(db, &session, room, event) => response.wake_user(user),
                "m.read" if write(db, room, user, "m.read", thread_id, event) => {
                    let edu =
                        edus::receipt(room, room_id, &session.user_id, thread_id, &event.event_id, now_ms());
                    let response = response.wake_room(room);
                    if edus::queue(db, "m.receipt", vec![edu]) {
                        response.wake_user(SENDERS)
                    } else {
                        response
                    }
                }
                "m.read.private" if write(db, room, user, "m.read.private", thread_id, event) => {
                    response.wake_user(user)
                }
                _ => response,
            };
        }
        Ok(response)
    })
}
