//! Policy servers, which recommend events by signing them. Server-Server API, "Policy Servers".
//!
//! In a room that uses a policy server, a local event must be signed before it is appended. The outcome of
//! the request is then the event ([`Outcome::SignFirst`](matriarch_wire::Outcome)): the API node has it
//! signed, and [`append_signed`] appends it. Events that follow from a request, but are not what it asks for,
//! are signed after the response (`Outcome::SignAfterwards`). Remote events without signature are
//! soft-failed, after a node asked the policy server for the signature.

use pgrx::pg_extern;

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        spi::{Db, Mode},
    },
    intake::{self, signed},
    room::Room,
};

const SENT: &str = "
    select from events where device_nid = $1 and txn_id = $2 and room_nid = $3 and type = $4";

const SET_TRANSACTION: &str = "
    update events set device_nid = $2, txn_id = $3 where event_id = $1 and device_nid is null";

/// Appends a local event that was made before, and that the room's policy server has signed since.
///
/// `device_nid` and `txn_id` are those of the request; NULL if it has none. 403 `M_FORBIDDEN` if the room
/// does not allow the event any more.
#[pg_extern(volatile)]
fn append_signed(room_id: &str, event: &str, device_nid: Option<i64>, txn_id: Option<&str>) -> ResponseRows {
    respond(Mode::Write, |db| {
        Room::with(db, room_id, |room| take(db, room, event, device_nid.zip(txn_id)))
            .unwrap_or_else(|| Err(MatrixError::not_found("The room is not known.")))
    })
}

fn take(db: &Db<'_>, room: &mut Room<'_>, event: &str, transaction: Option<(i64, &str)>) -> Result<Response> {
    let parsed = intake::parse(room.version, &room.id, event)
        .map_err(|malformed| MatrixError::invalid_param(malformed.to_string()))?;
    if let Some((device_nid, txn_id)) = transaction {
        let args = [device_nid.into(), txn_id.into(), room.nid.into(), parsed.event_type().into()];
        if db.query_opt(SENT, &args).is_some() {
            return Err(MatrixError::new(409, "M_UNKNOWN", "The event was sent already."));
        }
    }
    let wake_room = signed::append_signed(room, event, &parsed)?;
    if let Some((device_nid, txn_id)) = transaction {
        db.execute(SET_TRANSACTION, &[parsed.event_id().into(), device_nid.into(), txn_id.into()]);
    }
    let mut response = Response::empty();
    response.wake_rooms.extend(wake_room);
    response.wake_users = std::mem::take(&mut room.wake_users);
    Ok(response)
}
