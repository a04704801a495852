//! Takes along, from a room to the room that replaces it, users' own data, and this server's aliases and
//! directory entry. Client-Server API, "Room upgrades".

use serde_json::{Map, Value};

use crate::{
    base::account_data::{self, GLOBAL},
    room::{Room, parse_stored},
};

const COPY_TAGS: &str = "
    insert into account_data (user_nid, room_nid, type, content)
    select a.user_nid, $1, a.type, a.content
    from rooms r
    join account_data a on a.room_nid = r.room_nid and a.user_nid = any($3) and a.type = 'm.tag'
    where r.room_id = $2
    on conflict (user_nid, room_nid, type) do nothing";

const TOMBSTONE: &str = "
    select r.room_nid, e.json
    from rooms r
    join room_state_keys k on k.room_nid = r.room_nid and k.type = 'm.room.tombstone' and k.state_key = ''
    join events e on e.event_nid = k.current_event_nid
    where r.room_id = $1";

const MOVE_ALIASES: &str = "update room_aliases set room_nid = $2 where room_nid = $1";

/// The old room's row is skipped if it is locked, because it would be locked out of order.
const MOVE_ENTRY: &str = "
    with listed as (
        select room_nid from rooms where room_nid = $1 and published for update skip locked
    ), unlisted as (
        update rooms r set published = false from listed l where r.room_nid = l.room_nid returning r.room_nid
    )
    update rooms set published = true where room_nid = $2 and exists (select from unlisted)";

const DIRECT: &str = "m.direct";

/// Copies tags and the mark of a direct chat from the predecessor to this room, and moves this server's
/// aliases and directory entry. `joined` are local users who just joined. A room that only claims to replace
/// another gets nothing: the tombstone of the other must name it.
pub fn carry_over(room: &mut Room<'_>, joined: &[i64]) {
    let Some(create) = room.state("m.room.create", "").filter(|_| !joined.is_empty()) else { return };
    let predecessor = create.event.content().get("predecessor").and_then(|old| old.get("room_id")?.as_str());
    let Some(predecessor) = predecessor.filter(|room_id| !room_id.contains('\0')) else { return };
    let Some(old) = replaced_by(room, predecessor) else { return };
    move_names(room, old);
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

/// The nid of a room whose tombstone names this one.
fn replaced_by(room: &Room<'_>, predecessor: &str) -> Option<i64> {
    let row = room.db.query_opt(TOMBSTONE, &[predecessor.into()])?;
    let tombstone = parse_stored(&row.get::<String>("json"));
    let replacement = tombstone.get("content").and_then(|content| content.get("replacement_room"));
    let old: i64 = row.get("room_nid");
    (old != room.nid && replacement.is_some_and(|replacement| *replacement == *room.id)).then_some(old)
}

/// Moves the aliases and the directory entry of a room that this one replaces.
fn move_names(room: &Room<'_>, old: i64) {
    room.db.execute(MOVE_ALIASES, &[old.into(), room.nid.into()]);
    room.db.execute(MOVE_ENTRY, &[old.into(), room.nid.into()]);
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
