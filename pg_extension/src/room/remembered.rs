//! The memory of a backend: the newest event of each room that this backend appended, and parsed events of
//! current states by the root of the state.
//!
//! The state of a root never changes, but the JSON of its events changes when they are redacted:
//! `rooms.state_rewrites` counts redactions. Only committed data is kept, and only state keys that the state
//! has.

use std::{cell::RefCell, collections::HashMap};

use crate::room::stored::{Extremity, Slot, StateKey};

/// A guess: events with this much JSON take about 10 MB when parsed.
const CAPACITY_BYTES: usize = 1 << 20;

/// At this number of rooms, all are forgotten.
const MAX_ROOMS: usize = 10_000;

thread_local! {
    /// The newest event of each room that this backend appended. How other events cite it never changes.
    static NEWEST: RefCell<HashMap<i64, Extremity>> = RefCell::default();
}

/// The forward extremity with this nid, if this backend appended it last. The transaction may have been
/// rolled back: so the nid must be from the room's row.
pub fn extremity(room_nid: i64, event_nid: i64) -> Option<Extremity> {
    NEWEST.with_borrow(|newest| newest.get(&room_nid).filter(|newest| newest.nid == event_nid).cloned())
}

/// Keeps the newest event of a room.
pub fn note_newest(room_nid: i64, event: &Extremity) {
    NEWEST.with_borrow_mut(|newest| {
        if newest.len() >= MAX_ROOMS {
            newest.clear();
        }
        newest.insert(room_nid, event.clone());
    });
}

/// A root, and the number of redactions of the room's state events at that time.
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

/// The slot of a state key, if it is kept.
pub fn recall(found: StateVersion, key: &StateKey) -> Option<Slot> {
    REMEMBERED.with_borrow(|remembered| {
        let (rewrites, slots) = remembered.states.get(&found.root)?;
        slots.get(key).filter(|_| *rewrites == found.rewrites).cloned()
    })
}

/// Keeps a slot that has an event. When the memory is full, it is emptied: what is in use is soon read again,
/// and no order of use must be kept.
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
