//! The state that `send_join` returns with `omit_members`: without most member events, which the origin
//! fetches later (MSC3706).

use std::collections::BTreeSet;

use crate::{room::Room, trie};

/// The number of members by which clients name a room that has no name.
const HEROES: usize = 5;

const MEMBERS: &str = "select key_idx from room_state_keys where room_nid = $1 and type = 'm.room.member'";

/// The members by which the room is named: as in a room summary, the oldest.
const PRESENT: &str = "
    select k.key_idx
    from (
        select type, state_key, key_idx from room_state_keys where room_nid = $1 order by key_idx offset 0
    ) k
    join users u on u.user_id = k.state_key
    join memberships m on m.room_nid = $1 and m.user_nid = u.user_nid
    where k.type = 'm.room.member' and m.membership in ('join', 'invite') and k.state_key <> $2
    order by k.key_idx
    limit $3";

const SERVERS: &str = "
    select distinct u.server_name
    from memberships m
    join users u using (user_nid)
    where m.room_nid = $1 and m.membership = 'join' and u.user_id <> $2";

/// The state that is returned for a join.
pub struct Partial {
    pub state: Vec<i64>,
    /// The servers that were in the room before the join.
    pub servers: Vec<String>,
}

impl Partial {
    /// Makes the state of a join of `user_id`. `root` is the state before the join.
    pub fn of(room: &mut Room<'_>, user_id: &str, root: i64) -> Self {
        let db = room.db;
        let named =
            ["m.room.name", "m.room.canonical_alias"].map(|event_type| room.state(event_type, "").is_some());
        let heroes = if named.contains(&true) { 0 } else { HEROES };
        let args = [room.nid.into(), user_id.into(), (heroes as i64).into()];
        let heroes: BTreeSet<i32> = db.query(PRESENT, &args).map(|row| row.get("key_idx")).collect();
        let members: BTreeSet<i32> =
            db.query(MEMBERS, &[room.nid.into()]).map(|row| row.get("key_idx")).collect();
        let state = trie::entries(db, root)
            .into_iter()
            .filter(|(key_idx, _)| heroes.contains(key_idx) || !members.contains(key_idx))
            .map(|(_, nid)| nid)
            .collect();
        let servers =
            db.query(SERVERS, &[room.nid.into(), user_id.into()]).map(|row| row.get("server_name")).collect();
        Self { state, servers }
    }
}
