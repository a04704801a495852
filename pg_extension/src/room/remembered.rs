//! What this backend remembers of rooms: the event that it appended last, and the current states as parsed events, by the root of the
//! state.
//!
//! The state under a root never changes, but the JSON of its events does when they are redacted: `rooms.state_rewrites`
//! counts these. Only what was committed is remembered, and only keys that the state has.

use std::{cell::RefCell, collections::HashMap};

use crate::room::stored::{Extremity, Slot, StateKey};

/// Guessed: events of this much JSON take some 10 MB when parsed.
const CAPACITY_BYTES: usize = 1 << 20;

/// More rooms than that are forgotten all at once.
const MAX_ROOMS: usize = 10_000;

thread_local! {
    /// The newest event of each room, as far as this backend appended it. What it is cited by never changes.
    static NEWEST: RefCell<HashMap<i64, Extremity>> = RefCell::default();
}

/// An event of a room, if it is the one that this backend appended last. Whether it was committed is for the room's row to say, which
/// tells of it.
pub fn extremity(room_nid: i64, event_nid: i64) -> Option<Extremity> {
    NEWEST.with_borrow(|newest| newest.get(&room_nid).filter(|newest| newest.nid == event_nid).cloned())
}

/// Remembers the newest event of a room.
pub fn note_newest(room_nid: i64, event: &Extremity) {
    NEWEST.with_borrow_mut(|newest| {
        if newest.len() >= MAX_ROOMS {
            newest.clear();
        }
        newest.insert(room_nid, event.clone());
    });
}

/// A state, and how often events of its room were rewritten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateVersion {
    pub root: i64,
    pub rewrites: i64,
}

#[derive(Default)]
struct Remembered {
    states: HashMap<i64, (i64, HashMap<StateKey, Slot>)>,
    bytes: usize,
}

thread_local! {
    static REMEMBERED: RefCell<Remembered> = RefCell::default();
}

/// Takes a key of a state from memory.
pub fn recall(found: StateVersion, key: &StateKey) -> Option<Slot> {
    REMEMBERED.with_borrow(|remembered| {
        let (rewrites, slots) = remembered.states.get(&found.root)?;
        slots.get(key).filter(|_| *rewrites == found.rewrites).cloned()
    })
}

/// Keeps what was read of a key, which the state has. Full memory is emptied: what is in use comes back at once, and no
/// list needs keeping.
pub fn remember(found: StateVersion, key: &StateKey, slot: &Slot, bytes: usize) {
    REMEMBERED.with_borrow_mut(|remembered| {
        if remembered.bytes + bytes > CAPACITY_BYTES {
            *remembered = Remembered::default();
        }
        remembered.bytes += bytes;
        let (rewrites, slots) = remembered.states.entry(found.root).or_default();
        if *rewrites != found.rewrites {
            *rewrites = found.rewrites;
            slots.clear();
        }
        slots.insert(key.clone(), slot.clone());
    });
}
