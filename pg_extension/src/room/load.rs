//! Loads parts of the current states of rooms, for several rooms at once.

use std::rc::Rc;

use matriarch_rules::{Event, build::EventReference};

use crate::{
    base::spi::Db,
    room::{Extremity, Room, Slot, StateEvent, StateKey, parse_stored, reference, remembered},
};

/// `offset 0` holds the planner to one look-up per key. A plan made while rooms are small would otherwise
/// read all state keys of the room, and be kept when the room has grown.
const LOAD: &str = "
    select wanted.room_nid, wanted.type, wanted.state_key, k.key_idx, e.event_nid, e.event_id, e.json
    from unnest($1, $2, $3) as wanted (room_nid, type, state_key)
    cross join lateral (
        select room_state_keys.key_idx, room_state_keys.current_event_nid
        from room_state_keys
        where room_state_keys.room_nid = wanted.room_nid and room_state_keys.type = wanted.type
            and room_state_keys.state_key = wanted.state_key
        offset 0
    ) k
    left join events e on e.event_nid = k.current_event_nid";

/// Reads the JSON only of events that are cited with their hash.
const LOAD_EXTREMITIES: &str = "
    select room_nid, event_nid, event_id, case when event_nid = any($2) then json end as json
    from events
    where event_nid = any($1)";

impl Room<'_> {
    /// Loads the state keys and the forward extremities that are not loaded yet.
    pub fn load<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, &'k str)>) {
        let keys =
            keys.into_iter().map(|(event_type, state_key)| (event_type.to_owned(), state_key.to_owned()));
        Self::load_all(std::slice::from_mut(self), vec![keys.collect()]);
    }

    /// Like [`Room::load`] for several rooms, in the order of their nids: one query for all state keys and
    /// one for all forward extremities. `keys` has one list per room.
    pub fn load_all(rooms: &mut [Self], keys: Vec<Vec<StateKey>>) {
        let Some(db) = rooms.first().map(|room| room.db) else { return };
        let mut missing: Vec<(i64, StateKey)> = Vec::new();
        for (room, keys) in rooms.iter_mut().zip(keys) {
            for key in keys {
                // `text` cannot hold U+0000, so no state has such a key.
                let storable = !key.0.contains('\0') && !key.1.contains('\0');
                if storable && room.slots.get(&key.0, &key.1).is_none() && !room.recall(&key) {
                    missing.push((room.nid, key));
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if !missing.is_empty() {
            Self::load_keys(db, rooms, missing);
        }
        Self::load_extremities(db, rooms);
    }

    /// Takes a slot from the backend's memory. Returns whether it was there.
    fn recall(&mut self, key: &StateKey) -> bool {
        let slot = self.is_as_found().then(|| remembered::recall(self.found, key)).flatten();
        let is_known = slot.is_some();
        slot.into_iter().for_each(|slot| self.slots.insert(key.clone(), slot));
        is_known
    }

    /// Whether the current state is still the one that the room had when it was locked.
    fn is_as_found(&self) -> bool {
        !self.header.changed && !self.merging && self.header.root == self.found.root
    }

    fn load_keys(db: &Db<'_>, rooms: &mut [Self], missing: Vec<(i64, StateKey)>) {
        let nids: Vec<i64> = missing.iter().map(|(nid, _)| *nid).collect();
        let (types, state_keys): (Vec<&str>, Vec<&str>) = missing
            .iter()
            .map(|(_, (event_type, state_key))| (event_type.as_str(), state_key.as_str()))
            .unzip();
        for row in db.query(LOAD, &[nids.into(), types.into(), state_keys.into()]) {
            let json: Option<String> = row.opt("json");
            let bytes = json.as_ref().map_or(0, String::len);
            let current = json.map(|json| {
                let event = Event::new(row.get::<String>("event_id"), parse_stored(&json));
                StateEvent { nid: row.get("event_nid"), event: Rc::new(event) }
            });
            let (room, key) = (room_of(rooms, row.get("room_nid")), (row.get("type"), row.get("state_key")));
            let slot = Slot { key_idx: row.opt("key_idx"), current };
            if slot.current.is_some() && room.is_as_found() {
                remembered::remember(room.found, &key, &slot, bytes);
            }
            room.slots.insert(key, slot);
        }
        for (nid, key) in missing {
            let slots = &mut room_of(rooms, nid).slots;
            if slots.get(&key.0, &key.1).is_none() {
                slots.insert(key, Slot::default());
            }
        }
    }

    fn load_extremities(db: &Db<'_>, rooms: &mut [Self]) {
        let (mut nids, mut hashed) = (Vec::new(), Vec::new());
        for room in rooms.iter_mut() {
            let of_room = std::mem::take(&mut room.header.extremity_nids);
            if !of_room.is_empty() {
                let extremity =
                    |nid| remembered::extremity(room.nid, nid).unwrap_or(Extremity { nid, reference: None });
                room.header.extremities.extend(of_room.into_iter().map(extremity));
                room.header.extremities.sort_unstable_by_key(|extremity| extremity.nid);
            }
            let cited = room.header.cited().iter().filter(|extremity| extremity.reference.is_none());
            let missing: Vec<i64> = cited.map(|extremity| extremity.nid).collect();
            if room.version.event_id_in_event() {
                hashed.extend_from_slice(&missing);
            }
            nids.extend(missing);
        }
        if nids.is_empty() {
            return;
        }
        for row in db.query(LOAD_EXTREMITIES, &[nids.into(), hashed.into()]) {
            let room = room_of(rooms, row.get("room_nid"));
            let (event_id, event_nid): (String, i64) = (row.get("event_id"), row.get("event_nid"));
            let reference = match row.opt::<String>("json") {
                Some(json) => reference(room.version, &Event::new(event_id, parse_stored(&json))),
                None => EventReference::from(event_id),
            };
            let mut extremities = room.header.extremities.iter_mut().rev();
            if let Some(extremity) = extremities.find(|extremity| extremity.nid == event_nid) {
                extremity.reference = Some(reference);
            }
        }
    }
}

/// The room with this nid. It must be in `rooms`, which are in the order of their nids.
fn room_of<'r, 'a>(rooms: &'r mut [Room<'a>], nid: i64) -> &'r mut Room<'a> {
    let index = rooms.binary_search_by_key(&nid, |room| room.nid);
    &mut rooms[index.unwrap_or_else(|_| panic!("room {nid} was not asked for"))]
}
