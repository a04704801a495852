//! Read receipts and typing notifications. Client-Server API, "Receipts" and "Typing Notifications".

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::{parts::Columns, probe::Probe};
use crate::base::spi::{Db, Row};

/// A receipt: a user has read up to an event.
#[derive(Clone)]
pub struct Receipt {
    user_id: String,
    pub user_nid: i64,
    receipt_type: String,
    /// Empty for an unthreaded receipt.
    thread_id: String,
    event_id: String,
    ts: i64,
}

/// New receipts and typing notifications.
pub struct Ephemeral {
    /// By asker and room.
    pub receipts: BTreeMap<(usize, i64), Vec<Receipt>>,
    /// The rooms in which the list of typing users changed, by asker and room.
    pub typing: BTreeSet<(usize, i64)>,
}

const NEW_RECEIPTS: &str = "
    select u.user_id, c.user_nid, c.receipt_type, c.thread_id, e.event_id, c.ts, a.number, c.room_nid
    from (
        select number, user_nid, token::pg_snapshot as token, room_nid
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[])
            as a (number, user_nid, token, room_nid)
        offset 0
    ) a
    cross join lateral (
        select *
        from receipts
        where room_nid = a.room_nid and xid >= pg_snapshot_xmin(a.token)
            and not pg_visible_in_snapshot(xid, a.token)
            and (receipt_type = 'm.read' or user_nid = a.user_nid)
        offset 0
    ) c
    join users u on u.user_nid = c.user_nid
    join events e on e.event_nid = c.event_nid";

/// Reads what is new for the askers that have a token.
pub fn changed(db: &Db<'_>, columns: &Columns, found: &[Probe]) -> Ephemeral {
    let places = |rooms: fn(&Probe) -> &Vec<i64>| {
        found
            .iter()
            .enumerate()
            .flat_map(move |(asker, found)| rooms(found).iter().map(move |room| (asker, *room)))
    };
    let typing = places(|found| &found.typing).collect();
    let mut receipts: BTreeMap<_, Vec<Receipt>> = BTreeMap::new();
    let (askers, rooms): (Vec<usize>, Vec<i64>) = places(|found| &found.receipts).unzip();
    if !rooms.is_empty() {
        let args = [
            askers.iter().map(|&asker| asker as i64).collect::<Vec<_>>().into(),
            askers.iter().map(|&asker| columns.users[asker]).collect::<Vec<_>>().into(),
            askers.iter().map(|&asker| columns.tokens[asker].clone()).collect::<Vec<_>>().into(),
            rooms.into(),
        ];
        for row in db.query(NEW_RECEIPTS, &args) {
            receipts
                .entry((row.get::<i64>("number") as usize, row.get("room_nid")))
                .or_default()
                .push(read(&row));
        }
    }
    Ephemeral { receipts, typing }
}

const ALL_RECEIPTS: &str = "
    select u.user_id, c.user_nid, c.receipt_type, c.thread_id, e.event_id, c.ts, c.room_nid
    from receipts c
    join users u on u.user_nid = c.user_nid
    join events e on e.event_nid = c.event_nid
    where c.room_nid = any($1)";

/// All receipts of rooms, including private receipts of all users.
pub fn all_receipts(db: &Db<'_>, rooms: Vec<i64>) -> HashMap<i64, Vec<Receipt>> {
    let mut receipts: HashMap<i64, Vec<Receipt>> = HashMap::new();
    if !rooms.is_empty() {
        for row in db.query(ALL_RECEIPTS, &[rooms.into()]) {
            receipts.entry(row.get("room_nid")).or_default().push(read(&row));
        }
    }
    receipts
}

fn read(row: &Row<'_>) -> Receipt {
    Receipt {
        user_id: row.get("user_id"),
        user_nid: row.get("user_nid"),
        receipt_type: row.get("receipt_type"),
        thread_id: row.get("thread_id"),
        event_id: row.get("event_id"),
        ts: row.get("ts"),
    }
}

const TYPING: &str = "
    select t.room_nid, u.user_id
    from typing t
    join users u on u.user_nid = t.user_nid
    where t.room_nid = any($1) and t.typing and t.expires_at > now()
    order by u.user_id";

/// The users who are typing, by room.
pub fn typing(db: &Db<'_>, rooms: Vec<i64>) -> HashMap<i64, Vec<String>> {
    let mut typing: HashMap<i64, Vec<String>> = HashMap::new();
    if !rooms.is_empty() {
        for row in db.query(TYPING, &[rooms.into()]) {
            typing.entry(row.get("room_nid")).or_default().push(row.get("user_id"));
        }
    }
    typing
}

/// `m.typing`
pub fn typing_event(user_ids: &[String]) -> String {
    json!({ "type": "m.typing", "content": { "user_ids": user_ids } }).to_string()
}

/// The receipts that the reader may see, as `m.receipt` events. A user may have receipts of one
/// type in several threads for the same event. One event can hold only one of them, so there may be several
/// events.
pub fn receipt_events(receipts: &[Receipt], reader_nid: i64) -> Vec<String> {
    let mut contents: Vec<Map<String, Value>> = Vec::new();
    for receipt in receipts {
        if receipt.receipt_type != "m.read" && receipt.user_nid != reader_nid {
            continue;
        }
        let mut data = json!({ "ts": receipt.ts });
        if !receipt.thread_id.is_empty() {
            data["thread_id"] = receipt.thread_id.as_str().into();
        }
        let taken = |content: &Map<String, Value>| {
            content
                .get(&receipt.event_id)
                .and_then(|event| event.get(&receipt.receipt_type)?.get(&receipt.user_id))
                .is_some()
        };
        let index = contents.iter().position(|content| !taken(content)).unwrap_or_else(|| {
            contents.push(Map::new());
            contents.len() - 1
        });
        let event = contents[index].entry(receipt.event_id.as_str()).or_insert_with(|| json!({}));
        event[&receipt.receipt_type][&receipt.user_id] = data;
    }
    contents
        .into_iter()
        .map(|content| json!({ "type": "m.receipt", "content": content }).to_string())
        .collect()
}
