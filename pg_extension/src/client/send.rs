//! Sending: messages, state and redactions, several requests in one call.

use std::collections::{BTreeMap, HashMap};

use matriarch_rules::Map;
use pgrx::{Array, iter::TableIterator, pg_extern};
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent, content},
    base::{
        connection::connect,
        request,
        response::{MatrixError, Response, ResponseRow, ResponseRows, Result, row},
        session::Session,
        spi::{Db, Mode},
        users::User,
    },
    client::room_membership::set_member,
    room::Room,
};

/// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`, `PUT /rooms/{roomId}/redact/{eventId}/{txnId}` and
/// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
///
/// Returns an answer for each request, in order. A refused request does not affect the others. A state event
/// has a `state_key`, a redaction a target in `redacts`, an idempotent request a transaction id; otherwise
/// they are NULL.
#[pg_extern]
fn send(
    room_ids: Array<'_, &str>,
    token_hashes: Array<'_, &[u8]>,
    types: Array<'_, &str>,
    state_keys: Array<'_, &str>,
    txn_ids: Array<'_, &str>,
    contents: Array<'_, &str>,
    redacts: Array<'_, &str>,
) -> ResponseRows {
    let mut token_hashes = token_hashes.iter();
    let mut types = types.iter();
    let mut state_keys = state_keys.iter();
    let mut txn_ids = txn_ids.iter();
    let mut contents = contents.iter();
    let mut redacts = redacts.iter();
    let requests: Vec<Request<'_>> = room_ids
        .iter()
        .map(|room_id| Request {
            room_id: room_id.unwrap_or_default(),
            token_hash: token_hashes.next().flatten().unwrap_or_default(),
            event_type: types.next().flatten().unwrap_or_default(),
            state_key: state_keys.next().flatten(),
            txn_id: txn_ids.next().flatten(),
            content: contents.next().flatten().unwrap_or_default(),
            redacts: redacts.next().flatten(),
        })
        .collect();
    let rows: Vec<ResponseRow> =
        connect(Mode::Write, |db| serve(db, &requests)).into_iter().map(row).collect();
    TableIterator::new(rows)
}

/// The specification sets no limit, but the index needs one.
const MAX_TXN_ID_BYTES: usize = 512;

struct Request<'r> {
    room_id: &'r str,
    token_hash: &'r [u8],
    event_type: &'r str,
    state_key: Option<&'r str>,
    txn_id: Option<&'r str>,
    content: &'r str,
    redacts: Option<&'r str>,
}

/// A request whose user is authenticated.
struct Draft<'r> {
    user: User,
    device_nid: i64,
    request: &'r Request<'r>,
    /// The target of a redaction. It was removed from `content`.
    redacts: Option<String>,
    content: Map,
}

/// A transaction id with its scope, the device and the endpoint's path (Client-Server API, "Transaction
/// identifiers").
#[derive(PartialEq, Eq, Hash)]
struct Transaction {
    room_nid: i64,
    device_nid: i64,
    txn_id: String,
    event_type: String,
    redacts: Option<String>,
}

/// `offset 0` keeps the planner from reading all events of the room.
const SENT: &str = "
    select e.room_nid, e.device_nid, e.txn_id, e.type, e.event_id,
        case when e.type = 'm.room.redaction' then e.json end as redaction
    from unnest($1, $2, $3) as wanted (room_nid, device_nid, txn_id)
    cross join lateral (
        select room_nid, device_nid, txn_id, type, event_id, json
        from events
        where device_nid = wanted.device_nid and txn_id = wanted.txn_id
        offset 0
    ) e
    where e.room_nid = wanted.room_nid";

/// The requests of each room, with their indexes.
type ByRoom<'r> = BTreeMap<&'r str, Vec<(usize, Draft<'r>)>>;

fn serve(db: &Db<'_>, requests: &[Request<'_>]) -> Vec<Result<Response>> {
    let token_hashes: Vec<&[u8]> = requests.iter().map(|request| request.token_hash).collect();
    let sessions = Session::authenticate_all(db, &token_hashes);
    // Users who are not in the room must not learn whether it exists.
    let no_such_room = || Err(MatrixError::forbidden("You are not in this room."));
    let mut answers: Vec<Result<Response>> = Vec::with_capacity(requests.len());
    let mut drafts = ByRoom::new();
    for (index, (request, session)) in requests.iter().zip(sessions).enumerate() {
        match session.and_then(|session| draft(session, request)) {
            Ok(draft) => {
                drafts.entry(request.room_id).or_default().push((index, draft));
                answers.push(no_such_room());
            }
            Err(refusal) => answers.push(Err(refusal)),
        }
    }
    let room_ids: Vec<&str> = drafts.keys().copied().collect();
    if !room_ids.is_empty() {
        Room::with_all(db, &room_ids, |rooms| send_all(db, rooms, drafts, &mut answers));
    }
    answers
}

fn draft<'r>(session: Session, request: &'r Request<'r>) -> Result<Draft<'r>> {
    if request.txn_id.is_some_and(|txn_id| txn_id.len() > MAX_TXN_ID_BYTES) {
        return Err(MatrixError::invalid_param("The transaction id is too long."));
    }
    let mut content = request::object(request.content)?;
    let mut redacts = request.redacts.map(str::to_owned);
    if request.event_type == "m.room.redaction" && request.state_key.is_none() {
        let in_content = content.remove("redacts");
        if redacts.is_none() {
            redacts = in_content.as_ref().and_then(Value::as_str).map(str::to_owned);
        }
        if redacts.is_none() {
            return Err(MatrixError::missing_param("`redacts` is missing."));
        }
        if content.get("reason").is_some_and(|reason| !reason.is_string()) {
            return Err(MatrixError::bad_json("`reason` must be a string."));
        }
    }
    Ok(Draft { user: session.user(), device_nid: session.device_nid, request, redacts, content })
}

fn send_all(db: &Db<'_>, rooms: &mut [Room<'_>], mut drafts: ByRoom<'_>, answers: &mut [Result<Response>]) {
    let drafts: Vec<Vec<(usize, Draft<'_>)>> =
        rooms.iter().map(|room| drafts.remove(room.id.as_str()).unwrap_or_default()).collect();
    let mut sent = find_sent(db, rooms, &drafts);
    let keys = rooms.iter().zip(&drafts).map(|(room, drafts)| {
        drafts.iter().flat_map(|(_, draft)| append::keys_of(room, &draft.event(Map::new()))).collect()
    });
    let keys = keys.collect();
    Room::load_all(rooms, keys);
    for (room, drafts) in rooms.iter_mut().zip(drafts) {
        for (index, draft) in drafts {
            answers[index] = send_one(room, draft, &mut sent);
        }
    }
}

fn send_one(
    room: &mut Room<'_>,
    mut draft: Draft<'_>,
    sent: &mut HashMap<Transaction, String>,
) -> Result<Response> {
    let transaction = draft.transaction(room);
    if let Some(event_id) = transaction.as_ref().and_then(|transaction| sent.get(transaction)) {
        return Ok(Response::new(event_id_body(event_id)));
    }
    let event_id = draft.send(room).map_err(signed_first)?;
    let body = event_id_body(&event_id);
    sent.extend(transaction.map(|transaction| (transaction, event_id)));
    let wake_users = std::mem::take(&mut room.wake_users);
    Ok(Response { wake_users, ..Response::new(body).wake_room(room.nid) })
}

/// The events that were sent with these transaction ids before.
fn find_sent(
    db: &Db<'_>,
    rooms: &[Room<'_>],
    drafts: &[Vec<(usize, Draft<'_>)>],
) -> HashMap<Transaction, String> {
    let (mut room_nids, mut device_nids, mut txn_ids) = (Vec::new(), Vec::new(), Vec::new());
    for (room, drafts) in rooms.iter().zip(drafts) {
        for (_, draft) in drafts {
            if let Some(txn_id) = draft.request.txn_id {
                room_nids.push(room.nid);
                device_nids.push(draft.device_nid);
                txn_ids.push(txn_id);
            }
        }
    }
    if txn_ids.is_empty() {
        return HashMap::new();
    }
    db.query(SENT, &[room_nids.into(), device_nids.into(), txn_ids.into()])
        .map(|row| {
            let room_nid = row.get("room_nid");
            let redacts = row
                .opt::<String>("redaction")
                .and_then(|json| rooms.iter().find(|room| room.nid == room_nid)?.redaction_of(&json));
            let transaction = Transaction {
                room_nid,
                device_nid: row.get("device_nid"),
                txn_id: row.get("txn_id"),
                event_type: row.get("type"),
                redacts,
            };
            (transaction, row.get("event_id"))
        })
        .collect()
}

impl Draft<'_> {
    fn event(&self, content: Map) -> LocalEvent<'_> {
        LocalEvent {
            sender: &self.user,
            event_type: self.request.event_type,
            state_key: self.request.state_key,
            content,
            redacts: self.redacts.as_deref(),
            transaction: self.request.txn_id.map(|txn_id| (self.device_nid, txn_id)),
        }
    }

    fn transaction(&self, room: &Room<'_>) -> Option<Transaction> {
        Some(Transaction {
            room_nid: room.nid,
            device_nid: self.device_nid,
            txn_id: self.request.txn_id?.to_owned(),
            event_type: self.request.event_type.to_owned(),
            redacts: self.redacts.clone(),
        })
    }

    fn send(&mut self, room: &mut Room<'_>) -> Result<String> {
        let content = std::mem::take(&mut self.content);
        let appended = match self.request.state_key {
            Some(target) if self.request.event_type == "m.room.member" => {
                set_member(room, &self.user, target, content)?
            }
            Some(_) => {
                content::check(room, self.request.event_type, &content)?;
                append::append(room, self.event(content))?
            }
            None => append::append(room, self.event(content))?,
        };
        Ok(appended.event_id)
    }
}

/// Adds the response that the client gets once the room's policy server has signed the event.
fn signed_first(error: MatrixError) -> MatrixError {
    let answer = error.unsigned.as_ref().map(|unsigned| json!({ "event_id": unsigned.event_id }));
    error.or_answer(answer.unwrap_or_default())
}

fn event_id_body(event_id: &str) -> String {
    // Escaped as JSON, since a configured server name could contain characters that need it.
    Value::Object(Map::from_iter([("event_id".to_owned(), event_id.into())])).to_string()
}
