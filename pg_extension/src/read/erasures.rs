//! Events of users who were erased: readers who joined the room after that get redacted copies. Client-Server
//! API, "Deactivating accounts", `erase`.

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use matriarch_rules::room_version;

use crate::{base::spi::Db, read::stored_event::StoredEvent};

/// The erased users among some, with the state of the room after their erasure.
const ERASED: &str = "
    select u.user_id, r.room_version, coalesce(next.state_before, r.current_root) as root
    from unnest($2) as wanted (user_id)
    cross join lateral (
        select user_nid, user_id from users where user_id = wanted.user_id offset 0
    ) u
    cross join lateral (
        select room_nid, pos from erasures where room_nid = $1 and user_nid = u.user_nid offset 0
    ) e
    join rooms r on r.room_nid = e.room_nid
    left join lateral (
        select state_before from events where room_nid = $1 and pos > e.pos order by pos limit 1
    ) next on true";

/// Replaces events of erased users by redacted copies, unless `was_joined` says of the state before the
/// event, or of the state of the room after the erasure, that the reader was joined. State stays, except the
/// erased user's own membership: a room keeps its name.
pub fn redact(db: &Db<'_>, room_nid: i64, part: &mut [Rc<StoredEvent>], was_joined: impl Fn(i64) -> bool) {
    let senders: BTreeSet<&str> =
        part.iter().filter(|event| is_erasable(event)).map(|event| event.sender.as_str()).collect();
    if senders.is_empty() {
        return;
    }
    let senders: Vec<&str> = senders.into_iter().collect();
    let mut erased: HashMap<String, String> = HashMap::new();
    for row in db.query(ERASED, &[room_nid.into(), senders.into()]) {
        if !was_joined(row.get("root")) {
            erased.insert(row.get("user_id"), row.get("room_version"));
        }
    }
    for event in part.iter_mut().filter(|event| is_erasable(event)) {
        let Some(version) = erased.get(&event.sender).and_then(|version| room_version(version)) else {
            continue;
        };
        if !event.state_before.is_some_and(&was_joined) {
            *event = Rc::new(event.redacted(version));
        }
    }
}

fn is_erasable(event: &StoredEvent) -> bool {
    event.state_key.is_none() || event.is_member(&event.sender)
}
