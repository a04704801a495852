//! The part of a room's state that was loaded.

use std::collections::HashMap;

use crate::room::{Slot, StateKey};

/// Slots by `type` and `state_key`, found without making owned strings of these.
#[derive(Debug, Default)]
pub struct Slots(HashMap<String, HashMap<String, Slot>>);

impl Slots {
    /// The slot of a state key, if it was loaded.
    pub fn get(&self, event_type: &str, state_key: &str) -> Option<&Slot> {
        self.0.get(event_type)?.get(state_key)
    }

    /// Sets the slot of a state key.
    pub fn insert(&mut self, (event_type, state_key): StateKey, slot: Slot) {
        self.0.entry(event_type).or_default().insert(state_key, slot);
    }

    /// Drops the slots for which `keep` is false.
    pub fn retain(&mut self, keep: impl Fn(&Slot) -> bool) {
        for of_type in self.0.values_mut() {
            of_type.retain(|_, slot| keep(slot));
        }
    }
}

impl FromIterator<(StateKey, Slot)> for Slots {
    fn from_iter<I: IntoIterator<Item = (StateKey, Slot)>>(slots: I) -> Self {
        let mut all = Self::default();
        slots.into_iter().for_each(|(key, slot)| all.insert(key, slot));
        all
    }
}
