//! The memory of a backend: the newest event of each room that this backend appended, and parsed events of
//! current states by the root of the state.
//!
//! The state of a root never changes, but the JSON of its events changes when they are redacted:
//! `rooms.state_rewrites` counts redactions. Only committed data is kept, and only state keys that the state
//! has.

use quick_cache::{Equivalent, Weighter};

use crate::{
    base::cache::Cache,
    room::stored::{Extremity, Slot, StateKey},
};

/// In bytes of JSON. A guess: events with this much JSON take about 10 MB when parsed.
const CAPACITY_BYTES: u64 = 1 << 20;

/// The number of state events of common length that take this much.
const EXPECTED: usize = 2048;

const MAX_ROOMS: usize = 10_000;

thread_local! {
    /// The newest event of each room that this backend appended. How other events cite it never changes.
    static NEWEST: Cache<i64, Extremity> = Cache::new(MAX_ROOMS);
}

/// The forward extremity with this nid, if this backend appended it last. The transaction may have been
/// rolled back: so the nid must be from the room's row.
pub fn extremity(room_nid: i64, event_nid: i64) -> Option<Extremity> {
    NEWEST.with(|newest| newest.get(&room_nid)).filter(|newest| newest.nid == event_nid)
}

/// Keeps the newest event of a room.
pub fn note_newest(room_nid: i64, event: &Extremity) {
    NEWEST.with(|newest| newest.put(room_nid, event.clone()));
}

/// A root, and the number of redactions of the room's state events at that time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StateVersion {
    pub root: i64,
    pub rewrites: i64,
}

/// A key of a state.
#[derive(PartialEq, Eq, Hash)]
struct KeyOf(StateVersion, StateKey);

/// [`KeyOf`], to look for without copying the key.
#[derive(Hash)]
struct KeyRef<'k>(StateVersion, &'k StateKey);

impl Equivalent<KeyOf> for KeyRef<'_> {
    fn equivalent(&self, key: &KeyOf) -> bool {
        self.0 == key.0 && *self.1 == key.1
    }
}

/// What a key has, and how many bytes of JSON that is.
type SlotBytes = (Slot, u64);

#[derive(Clone, Copy)]
struct ByJson;

impl Weighter<KeyOf, SlotBytes> for ByJson {
    fn weight(&self, _: &KeyOf, (_, bytes): &SlotBytes) -> u64 {
        (*bytes).max(1)
    }
}

thread_local! {
    static STATES: Cache<KeyOf, SlotBytes, ByJson> = Cache::weighted(EXPECTED, CAPACITY_BYTES, ByJson);
}

/// The slot of a state key, if it is kept.
pub fn recall(found: StateVersion, key: &StateKey) -> Option<Slot> {
    STATES.with(|states| states.get(&KeyRef(found, key))).map(|(slot, _)| slot)
}

/// Keeps a slot that has an event, with `bytes` of JSON.
pub fn remember(found: StateVersion, key: &StateKey, slot: &Slot, bytes: usize) {
    STATES.with(|states| states.put(KeyOf(found, key.clone()), (slot.clone(), bytes as u64)));
}
