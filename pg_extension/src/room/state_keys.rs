//! The numbers of a room's state keys (`room_state_keys`), as far as a call has read them.

use std::{cell::RefCell, collections::HashMap};

use crate::{base::spi::Db, room::StateKey};

const FIND: &str = "
    select wanted.number, k.key_idx
    from unnest($2, $3) with ordinality as wanted (type, state_key, number)
    cross join lateral (
        select key_idx
        from room_state_keys
        where room_nid = $1 and type = wanted.type and state_key = wanted.state_key
        offset 0
    ) k";

const ADD: &str = "
    insert into room_state_keys (room_nid, key_idx, type, state_key)
    select $1, added.key_idx, added.type, added.state_key
    from unnest($2, $3, $4) as added (key_idx, type, state_key)";

/// State keys and their `key_idx`; `None` for state keys that the room never had.
pub struct StateKeys<'d, 'c> {
    db: &'d Db<'c>,
    room_nid: i64,
    known: RefCell<HashMap<StateKey, Option<i32>>>,
    /// State keys that are not written yet.
    added: RefCell<Vec<(i32, StateKey)>>,
}

impl<'d, 'c> StateKeys<'d, 'c> {
    pub fn new(db: &'d Db<'c>, room_nid: i64) -> Self {
        Self { db, room_nid, known: RefCell::default(), added: RefCell::default() }
    }

    /// Reads the state keys that are not loaded yet, in one query.
    pub fn load(&self, keys: impl IntoIterator<Item = StateKey>) {
        let mut known = self.known.borrow_mut();
        let mut missing: Vec<StateKey> = Vec::new();
        for key in keys {
            if known.contains_key(&key) {
                continue;
            }
            known.insert(key.clone(), None);
            // `text` cannot hold U+0000, so no state has such a key.
            if !key.0.contains('\0') && !key.1.contains('\0') {
                missing.push(key);
            }
        }
        if missing.is_empty() {
            return;
        }
        let (types, state_keys): (Vec<&str>, Vec<&str>) =
            missing.iter().map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str())).unzip();
        for row in self.db.query(FIND, &[self.room_nid.into(), types.into(), state_keys.into()]) {
            let number: i64 = row.get("number");
            known.insert(missing[number as usize - 1].clone(), row.opt("key_idx"));
        }
    }

    /// The `key_idx` of a state key; it is loaded if necessary.
    pub fn get(&self, event_type: &str, state_key: &str) -> Option<i32> {
        let key = (event_type.to_owned(), state_key.to_owned());
        if let Some(known) = self.known.borrow().get(&key) {
            return *known;
        }
        self.load([key.clone()]);
        self.known.borrow()[&key]
    }

    /// Gives a new state key its `key_idx`; [`StateKeys::flush`] writes it. The caller holds the room's lock.
    pub fn add(&self, event_type: &str, state_key: &str, key_idx: i32) {
        let key = (event_type.to_owned(), state_key.to_owned());
        self.added.borrow_mut().push((key_idx, key.clone()));
        self.known.borrow_mut().insert(key, Some(key_idx));
    }

    /// Writes the state keys that were added.
    pub fn flush(&self) {
        let added = self.added.take();
        if added.is_empty() {
            return;
        }
        let key_idxs: Vec<i32> = added.iter().map(|(key_idx, _)| *key_idx).collect();
        let types: Vec<&str> = added.iter().map(|(_, (event_type, _))| event_type.as_str()).collect();
        let state_keys: Vec<&str> = added.iter().map(|(_, (_, state_key))| state_key.as_str()).collect();
        self.db.execute(ADD, &[self.room_nid.into(), key_idxs.into(), types.into(), state_keys.into()]);
    }
}
