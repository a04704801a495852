//! Receives federation transactions of other servers. Server-Server API, "Transactions".
//!
//! A transaction is acknowledged when its events are staged (`inbound_pdus`) and its EDUs are applied, in one
//! database transaction. Then API nodes pass the events to intake by `receive_pdus`.

mod edus;
mod presence;
mod receipts;
mod rescinded;
mod rooms;
mod to_device;
mod typing;

use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet},
};

use matriarch_rules::{
    Event, Map, RoomVersion, hash,
    json::{ExactObject, parse_pdu},
    room_version,
};
use matriarch_wire::Outcome;
use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{edus::Edus, rescinded::Rescinded, rooms::InboundRooms};
use crate::base::{
    response::{MatrixError, Response, ResponseRows, respond},
    spi::{Db, Mode},
};

/// The number of staged events of one origin. At this number the origin is told to wait.
const MAX_STAGED: i64 = 10_000;

const MAX_TXN_ID_BYTES: usize = 512;

/// The version whose rules give an event of an unknown room its id: those of today's rooms are the same.
const PROBABLE_VERSION: &str = "11";

/// Waits for a concurrent call with the same transaction.
const BEGIN: &str = "
    insert into inbound_transactions (origin, txn_id, response) values ($1, $2, '')
    on conflict (origin, txn_id) do nothing
    returning true";

const ANSWERED: &str = "select response from inbound_transactions where origin = $1 and txn_id = $2";

const END: &str = "update inbound_transactions set response = $3 where origin = $1 and txn_id = $2";

const STAGED: &str =
    "select count(*) as staged from (select from inbound_pdus where origin = $1 limit $2) as staged";

/// A PDU of a transaction.
struct Pdu {
    event_id: String,
    room_id: String,
    json: String,
    /// Why it is refused.
    refusal: Option<String>,
}

impl Pdu {
    /// Reads the event id and the room of a PDU, and whether it is refused at once. `None` if it has no event
    /// id.
    fn read(rooms: &InboundRooms, mut pdu: ExactObject) -> Option<Self> {
        let json = pdu.to_canonical();
        pdu.object.remove("unsigned");
        let room_id = pdu.object.get("room_id").and_then(Value::as_str).unwrap_or_default().to_owned();
        let room = rooms.get(&room_id);
        let version: &RoomVersion = match room {
            Some(room) => room.version?,
            None => room_version(PROBABLE_VERSION)?,
        };
        let event_id = match (room, pdu.object.get("event_id").and_then(Value::as_str)) {
            // In room versions 1 and 2 the id is a field, which the signatures cover.
            (None, Some(event_id)) => event_id.to_owned(),
            _ => hash::event_id(version, &pdu)?,
        };
        let refusal = match room {
            None => Some("This server is not in the room.".to_owned()),
            Some(room) => room.refusal().map(str::to_owned),
        };
        let refusal = refusal.or_else(|| Event::from_pdu(version, pdu).err().map(|error| error.to_string()));
        Some(Self { event_id, room_id, json, refusal })
    }
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
///
/// The caller has authenticated `origin`. The response has `{}` or an `error` for each PDU that has an id. A
/// repeated transaction gets the stored response, and does nothing.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` for a transaction id that is too long, 429 `M_LIMIT_EXCEEDED` while too many events
/// of the origin are staged, and, with [`Outcome::JoinInProgress`], for events of a room that a local user is
/// just joining.
#[pg_extern(volatile)]
fn receive_transaction(origin: &str, txn_id: &str, pdus: Vec<String>, edus: Vec<String>) -> ResponseRows {
    respond(Mode::Write, |db| {
        if txn_id.len() > MAX_TXN_ID_BYTES {
            return Err(MatrixError::invalid_param("The transaction id is too long."));
        }
        if let Some(response) = answered(db, origin, txn_id) {
            return Ok(Response::new(response));
        }
        let staged: i64 = db.query_one(STAGED, &[origin.into(), MAX_STAGED.into()]).get("staged");
        if !pdus.is_empty() && staged >= MAX_STAGED {
            return Err(too_many());
        }
        let edus = Edus::read(origin, &edus);
        let room_ids: BTreeSet<Cow<'_, str>> = pdus.iter().filter_map(|pdu| room_id_in(pdu)).collect();
        let room_ids: BTreeSet<&str> = room_ids.iter().map(AsRef::as_ref).collect();
        let rooms = InboundRooms::of(db, origin, room_ids.iter().copied().chain(edus.room_ids()).collect());
        if rooms.is_any_join_in_progress(db, &room_ids) {
            return Err(too_early());
        }
        if db.query_opt(BEGIN, &[origin.into(), txn_id.into()]).is_none() {
            return Ok(Response::new(answered(db, origin, txn_id).unwrap_or_default()));
        }
        let mut results = Map::new();
        let (mut ended, mut read) = (Vec::new(), Vec::new());
        // One after the other, since a parsed event takes many times the memory of its text.
        for pdu in pdus.iter().filter_map(|pdu| parse_pdu(pdu).ok()) {
            match rescind(db, origin, &rooms, &pdu) {
                Some(Rescinded { event_id, outcome }) => {
                    results.insert(
                        event_id,
                        outcome.as_ref().map_or_else(|error| json!({ "error": error }), |_| json!({})),
                    );
                    ended.extend(outcome);
                }
                None => read.extend(Pdu::read(&rooms, pdu)),
            }
        }
        stage(db, origin, &rooms, &read);
        for pdu in read {
            let result = pdu.refusal.map_or_else(|| json!({}), |error| json!({ "error": error }));
            results.insert(pdu.event_id, result);
        }
        let body = json!({ "pdus": results }).to_string();
        let mut response = edus.apply(db, origin, &rooms, Response::new(body));
        response.wake_users.extend(ended);
        db.execute(END, &[origin.into(), txn_id.into(), response.body.as_str().into()]);
        Ok(response)
    })
}

/// The room that a PDU names.
fn room_id_in(pdu: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Named<'p> {
        #[serde(borrow)]
        room_id: Cow<'p, str>,
    }
    serde_json::from_str::<Named<'_>>(pdu).ok().map(|named| named.room_id)
}

fn answered(db: &Db<'_>, origin: &str, txn_id: &str) -> Option<String> {
    db.query_opt(ANSWERED, &[origin.into(), txn_id.into()]).map(|row| row.get("response"))
}

/// Applies an event of a room that this server has not joined, if it ends the out-of-band membership of a
/// local user.
fn rescind(db: &Db<'_>, origin: &str, rooms: &InboundRooms, pdu: &ExactObject) -> Option<Rescinded> {
    let room_id = pdu.object.get("room_id")?.as_str()?;
    match rooms.get(room_id) {
        Some(room) if room.is_here() => None,
        _ => rescinded::take(db, origin, room_id, pdu),
    }
}

fn too_many() -> MatrixError {
    let reason = "Too many of your events wait to be taken into their rooms.";
    MatrixError::new(429, "M_LIMIT_EXCEEDED", reason).with("retry_after_ms", 10_000)
}

/// The resident server has sent the join to the others, which send events before the room's state is stored
/// here.
fn too_early() -> MatrixError {
    let reason = "A user of this server is just joining a room of these events.";
    MatrixError::new(429, "M_LIMIT_EXCEEDED", reason)
        .with("retry_after_ms", 1_000)
        .with_outcome(Outcome::JoinInProgress)
}

const KNOWN: &str = "
    select e.event_id
    from unnest($1::text[]) as wanted (event_id)
    cross join lateral (
        select event_id from events where event_id = wanted.event_id and status <> outlier() offset 0
    ) e
    where not exists (select from events_without_successor l where l.event_id = e.event_id)";

/// Queues are locked in the order of their rooms. A staged event that is sent again is due, as if it were
/// new: its origin may now have what it needs.
const STAGE: &str = "
    with queues as (
        insert into inbound_queues (room_nid, origin, generation)
        select distinct room_nid, $1, 1 from unnest($2::bigint[]) as room_nid order by room_nid
        on conflict (room_nid, origin) do update
        set generation = inbound_queues.generation + 1, next_try_at = least(inbound_queues.next_try_at, now())
    )
    insert into inbound_pdus (room_nid, origin, event_id, json)
    select p.room_nid, $1, p.event_id, p.json
    from unnest($2::bigint[], $3::text[], $4::text[]) with ordinality p (room_nid, event_id, json, number)
    order by p.number
    on conflict (room_nid, event_id, origin) do update
    set next_try_at = least(inbound_pdus.next_try_at, now()), attempts = 0
    where inbound_pdus.next_try_at > now()";

/// Stages the PDUs that are neither refused nor stored in their rooms.
fn stage(db: &Db<'_>, origin: &str, rooms: &InboundRooms, pdus: &[Pdu]) {
    let accepted: Vec<&Pdu> = pdus.iter().filter(|pdu| pdu.refusal.is_none()).collect();
    if accepted.is_empty() {
        return;
    }
    let ids: BTreeSet<&str> = accepted.iter().map(|pdu| pdu.event_id.as_str()).collect();
    let ids: Vec<&str> = ids.into_iter().collect();
    let known: HashSet<String> = db.query(KNOWN, &[ids.into()]).map(|row| row.get("event_id")).collect();
    let mut columns: (Vec<i64>, Vec<&str>, Vec<&str>) = Default::default();
    // A statement may write a row only once.
    let mut staged = HashSet::new();
    for pdu in accepted.into_iter().filter(|pdu| !known.contains(&pdu.event_id)) {
        if let Some(room) = rooms.get(&pdu.room_id)
            && staged.insert((room.nid, pdu.event_id.as_str()))
        {
            columns.0.push(room.nid);
            columns.1.push(&pdu.event_id);
            columns.2.push(&pdu.json);
        }
    }
    if !columns.0.is_empty() {
        db.execute(STAGE, &[origin.into(), columns.0.into(), columns.1.into(), columns.2.into()]);
    }
}
