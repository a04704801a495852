//! Copies users' own data from a room to the room that replaces it. Client-Server API, "Room upgrades".

use serde_json::{Map, Value};

use crate::{
    base::account_data::{self, GLOBAL},
    room::Room,
};

const COPY_TAGS: &str = "
    insert into account_data (user_nid, room_nid, type, content)
    select a.user_nid, $1, a.type, a.content
    from rooms r
    join account_data a on a.room_nid = r.room_nid and a.user_nid = any($3) and a.type = 'm.tag'
    where r.room_id = $2
    on conflict (user_nid, room_nid, type) do nothing";

const DIRECT: &str = "m.direct";

/// Copies tags and the mark of a direct chat from the predecessor to this room. `joined` are local users who
/// just joined.
pub fn carry_over(room: &mut Room<'_>, joined: &[i64]) {
    let Some(create) = room.state("m.room.create", "").filter(|_| !joined.is_empty()) else { return };
    let predecessor = create.event.content().get("predecessor").and_then(|old| old.get("room_id")?.as_str());
    let Some(predecessor) = predecessor.filter(|room_id| !room_id.contains('\0')) else { return };
    room.db.execute(COPY_TAGS, &[room.nid.into(), predecessor.into(), joined.to_vec().into()]);
    for user_nid in joined {
        let direct = account_data::read(room.db, *user_nid, GLOBAL, DIRECT);
        let direct = direct.and_then(|content| serde_json::from_str::<Map<String, Value>>(&content).ok());
        let changed =
            direct.and_then(|mut direct| add_successor(&mut direct, predecessor, &room.id).then_some(direct));
        if let Some(direct) = changed {
            account_data::write(room.db, *user_nid, GLOBAL, DIRECT, &Value::Object(direct).to_string());
        }
    }
}

/// Adds the new room to each list of direct chats that has the old one. Returns whether there was one.
fn add_successor(direct: &mut Map<String, Value>, old: &str, new: &str) -> bool {
    let mut changed = false;
    for rooms in direct.values_mut().filter_map(Value::as_array_mut) {
        if rooms.iter().any(|room| room == old) && !rooms.iter().any(|room| room == new) {
            rooms.push(new.into());
            changed = true;
        }
    }
    changed
}
