//! Lists of state events: a whole state, or parts of it for lazy-loading of members.

use std::{collections::BTreeSet, rc::Rc};

use crate::{
    base::spi::Db,
    read::stored_event::{Events, StoredEvent},
    room::state_at::StateAt,
};

const MEMBER_KEYS: &str = "
    select w.number, k.key_idx
    from unnest($1::bigint[], $2::text[]) with ordinality w (room_nid, user_id, number)
    cross join lateral (
        select key_idx
        from room_state_keys
        where room_nid = w.room_nid and type = 'm.room.member' and state_key = w.user_id
        offset 0
    ) k";

/// The `key_idx` of the users' member events. `rooms` and `users` are pairs of a room and a user; returns the
/// index of a pair and its `key_idx`. Leaves out users who never had a member event.
pub fn member_keys(db: &Db<'_>, rooms: Vec<i64>, users: Vec<String>) -> Vec<(usize, i32)> {
    if rooms.is_empty() {
        return Vec::new();
    }
    db.query(MEMBER_KEYS, &[rooms.into(), users.into()])
        .map(|row| (row.get::<i64>("number") as usize - 1, row.get("key_idx")))
        .collect()
}

/// All events of a state.
pub fn all(db: &Db<'_>, events: &Events<'_, '_>, at: StateAt) -> Vec<Rc<StoredEvent>> {
    let state = StateAt::EMPTY.changes_to(db, at);
    let nids = || state.values().flatten().copied();
    events.load(nids());
    nids().map(|nid| events.get(nid)).collect()
}

const OTHER_KEYS: &str = "
    select key_idx from room_state_keys where room_nid = $1 and type < 'm.room.member'
    union all
    select key_idx from room_state_keys where room_nid = $1 and type > 'm.room.member'";

/// The events of a state except member events.
pub fn without_members(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room_nid: i64,
    at: StateAt,
) -> Vec<Rc<StoredEvent>> {
    let keys = db.query(OTHER_KEYS, &[room_nid.into()]).map(|row| row.get("key_idx"));
    of_keys(db, events, at, keys)
}

const ALL_MEMBER_KEYS: &str =
    "select key_idx from room_state_keys where room_nid = $1 and type = 'm.room.member'";

/// The member events of a state.
pub fn members(db: &Db<'_>, events: &Events<'_, '_>, room_nid: i64, at: StateAt) -> Vec<Rc<StoredEvent>> {
    let keys = db.query(ALL_MEMBER_KEYS, &[room_nid.into()]).map(|row| row.get("key_idx"));
    of_keys(db, events, at, keys)
}

/// The member events in a state of the users who sent these events.
pub fn members_who_sent(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room_nid: i64,
    at: StateAt,
    sent: &[Rc<StoredEvent>],
) -> Vec<Rc<StoredEvent>> {
    let users: Vec<String> =
        sent.iter().map(|event| event.sender.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let keys = member_keys(db, vec![room_nid; users.len()], users);
    of_keys(db, events, at, keys.into_iter().map(|(_, key)| key))
}

fn of_keys(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    at: StateAt,
    keys: impl Iterator<Item = i32>,
) -> Vec<Rc<StoredEvent>> {
    let nids: Vec<i64> = at.get_many(db, &keys.collect::<Vec<_>>()).into_iter().flatten().collect();
    events.load(nids.iter().copied());
    nids.into_iter().map(|nid| events.get(nid)).collect()
}
