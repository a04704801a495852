//! Sending: messages, state and redactions, several requests in one call.

use std::collections::{BTreeMap, HashMap};

use matriarch_rules::Map;
use pgrx::{Array, iter::TableIterator, pg_extern};
use serde_json::Value;

use crate::{
    append::LocalEvent,
    request,
    response::{MatrixError, Response, ResponseRow, ResponseRows, Result, row},
    room::Room,
    session::Session,
    spi::{Db, Mode, connect},
    users::User,
};

/// `PUT /rooms/{roomId}/send/{eventType}/{txnId}`, `PUT /rooms/{roomId}/redact/{eventId}/{txnId}` and
/// `PUT /rooms/{roomId}/state/{eventType}/{stateKey}`
///
/// One answer a request, in order; one that is refused leaves the others alone. A state event has a state key, a
/// redaction a target, what is idempotent a transaction id; they are NULL otherwise.
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

/// The specification sets no limit, an index does.
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

/// A request of a known user.
struct Draft<'r> {
    user: User,
    device_nid: i64,
    request: &'r Request<'r>,
    /// The target of a redaction, which `content` no longer has.
    redacts: Option<String>,
    content: Map,
}

/// What makes a transaction id one: the device and the endpoint's path (Client-Server API, "Transaction identifiers").
#[derive(PartialEq, Eq, Hash)]
struct Transaction {
    device_nid: i64,
    txn_id: String,
    event_type: String,
    redacts: Option<String>,
}

/// `offset 0` keeps the planner from the other way, through all events of the room.
const SENT: &str = "
    select e.device_nid, e.txn_id, e.type, e.event_id, case when e.type = 'm.room.redaction' then e.json end
    from unnest($2, $3) as wanted (device_nid, txn_id)
    cross join lateral (
        select device_nid, txn_id, type, event_id, json, room_nid
        from events
        where device_nid = wanted.device_nid and txn_id = wanted.txn_id
        offset 0
    ) e
    where e.room_nid = $1";

/// Rooms are locked in the order of their nids, whoever locks several.
const LOCK_ORDER: &str = "select room_id from rooms where room_id = any($1) order by room_nid";

/// The requests of each room, by their place among all.
type ByRoom<'r> = BTreeMap<&'r str, Vec<(usize, Draft<'r>)>>;

fn serve(db: &Db<'_>, requests: &[Request<'_>]) -> Vec<Result<Response>> {
    let token_hashes: Vec<&[u8]> = requests.iter().map(|request| request.token_hash).collect();
    let sessions = Session::authenticate_all(db, &token_hashes);
    // Whether a room exists is not for those to know who are not in it.
    let no_such_room = || Err(MatrixError::forbidden("You are not in this room."));
    let mut answers: Vec<Result<Response>> = Vec::with_capacity(requests.len());
    let mut rooms = ByRoom::new();
    for (place, (request, session)) in requests.iter().zip(sessions).enumerate() {
        match session.and_then(|session| draft(session, request)) {
            Ok(draft) => {
                rooms.entry(request.room_id).or_default().push((place, draft));
                answers.push(no_such_room());
            }
            Err(refusal) => answers.push(Err(refusal)),
        }
    }
    for room_id in lock_order(db, &rooms) {
        let Some(drafts) = rooms.remove(room_id.as_str()) else { continue };
        let (places, drafts): (Vec<usize>, Vec<Draft<'_>>) = drafts.into_iter().unzip();
        if let Some(sent) = Room::with(db, &room_id, |room| send_all(room, drafts)) {
            for (place, answer) in places.into_iter().zip(sent) {
                answers[place] = answer;
            }
        }
    }
    answers
}

fn lock_order(db: &Db<'_>, rooms: &ByRoom<'_>) -> Vec<String> {
    let room_ids: Vec<&str> = rooms.keys().copied().collect();
    match room_ids[..] {
        [] => Vec::new(),
        [only] => vec![only.to_owned()],
        _ => db.query(LOCK_ORDER, &[room_ids.into()]).map(|row| row.get(1)).collect(),
    }
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

fn send_all(room: &mut Room<'_>, drafts: Vec<Draft<'_>>) -> Vec<Result<Response>> {
    let mut sent = find_sent(room, drafts.iter());
    let events: Vec<LocalEvent<'_>> = drafts.iter().map(|draft| draft.event(Map::new())).collect();
    room.load_for_all(&events);
    drop(events);
    drafts
        .into_iter()
        .map(|mut draft| {
            let transaction = draft.transaction();
            if let Some(event_id) = transaction.as_ref().and_then(|transaction| sent.get(transaction)) {
                return Ok(Response::new(event_id_body(event_id)));
            }
            let event_id = draft.send(room)?;
            let body = event_id_body(&event_id);
            sent.extend(transaction.map(|transaction| (transaction, event_id)));
            let wake_users = std::mem::take(&mut room.wake_users);
            Ok(Response { wake_users, ..Response::new(body).wake_room(room.nid) })
        })
        .collect()
}

/// The events that were sent with these transaction ids before.
fn find_sent<'d, 'r: 'd>(
    room: &Room<'_>,
    drafts: impl Iterator<Item = &'d Draft<'r>>,
) -> HashMap<Transaction, String> {
    let (device_nids, txn_ids): (Vec<i64>, Vec<&str>) =
        drafts.filter_map(|draft| Some((draft.device_nid, draft.request.txn_id?))).unzip();
    if txn_ids.is_empty() {
        return HashMap::new();
    }
    room.db
        .query(SENT, &[room.nid.into(), device_nids.into(), txn_ids.into()])
        .map(|row| {
            let redaction: Option<String> = row.opt(5);
            let redacts = redaction.and_then(|json| room.redaction_of(&json));
            let transaction =
                Transaction { device_nid: row.get(1), txn_id: row.get(2), event_type: row.get(3), redacts };
            (transaction, row.get(4))
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

    fn transaction(&self) -> Option<Transaction> {
        Some(Transaction {
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
                room.set_member(&self.user, target, content)?
            }
            Some(_) => {
                room.check_content(self.request.event_type, &content)?;
                room.append(self.event(content))?
            }
            None => room.append(self.event(content))?,
        };
        Ok(appended.event_id)
    }
}

fn event_id_body(event_id: &str) -> String {
    // An event id of ours has no character that JSON escapes, but the server's name is not ours to vouch for.
    Value::Object(Map::from_iter([("event_id".to_owned(), event_id.into())])).to_string()
}
