//! Stripped state for invited and knocking users. Client-Server API, "Stripped state".

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use super::parts::{Part, Parts};
use crate::{
    base::spi::Db,
    read::{
        render::stripped,
        stored_event::{Events, StoredEvent},
    },
};

/// The types of stripped state; [`KEYS`] has the same list.
pub const SHOWN_TO_OUTSIDERS: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

const KEYS: &str = "
    select w.room_nid, k.current_event_nid
    from unnest($1::bigint[]) w (room_nid)
    cross join unnest('{
        m.room.create, m.room.name, m.room.avatar, m.room.topic, m.room.join_rules, m.room.canonical_alias,
        m.room.encryption
    }'::text[]) t (type)
    cross join lateral (
        select current_event_nid
        from room_state_keys
        where room_nid = w.room_nid and type = t.type and state_key = '' and current_event_nid is not null
        offset 0
    ) k";

/// Stripped state of the rooms that askers are invited to or knock on, by `room_nid`.
pub struct Stripped {
    rooms: HashMap<i64, Vec<Rc<StoredEvent>>>,
}

impl Stripped {
    pub fn read(db: &Db<'_>, events: &Events<'_, '_>, parts: &Parts) -> Self {
        let outside = || parts.values().filter(|part| is_outside(part));
        let rooms: BTreeSet<i64> = outside().map(|part| part.room.room_nid).collect();
        if rooms.is_empty() {
            return Self { rooms: HashMap::new() };
        }
        let keys: Vec<(i64, i64)> = db
            .query(KEYS, &[rooms.into_iter().collect::<Vec<_>>().into()])
            .map(|row| (row.get("room_nid"), row.get("current_event_nid")))
            .collect();
        events.load(keys.iter().map(|(_, nid)| *nid).chain(outside().map(|part| part.member_event_nid)));
        let mut rooms: HashMap<i64, Vec<Rc<StoredEvent>>> = HashMap::new();
        for (room_nid, nid) in keys {
            rooms.entry(room_nid).or_default().push(events.get(nid));
        }
        Self { rooms }
    }

    /// The stripped state for one user: that of the room, and the user's member event.
    pub fn state(&self, events: &Events<'_, '_>, part: &Part) -> Vec<String> {
        let room = self.rooms.get(&part.room.room_nid).into_iter().flatten();
        room.map(|event| stripped(event)).chain([stripped(&events.get(part.member_event_nid))]).collect()
    }
}

fn is_outside(part: &Part) -> bool {
    matches!(&*part.membership, "invite" | "knock")
}
