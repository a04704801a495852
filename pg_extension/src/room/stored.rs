//! Stored events as a room's header and state hold them.

use std::rc::Rc;

use matriarch_rules::{Event, Map, RoomVersion, base64, build::EventReference, hash::reference_hash};

/// A type and a state key.
pub type StateKey = (String, String);

/// An event of the current state.
#[derive(Debug, Clone)]
pub struct StateEvent {
    pub nid: i64,
    pub event: Rc<Event>,
}

/// What is known of one key of the current state.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The key's place in the trie, if it was ever used.
    pub key_idx: Option<i32>,
    pub current: Option<StateEvent>,
}

/// An event that the next one cites.
#[derive(Debug, Clone)]
pub struct Extremity {
    pub nid: i64,
    pub reference: EventReference,
}

/// How other events cite this one.
pub fn reference(version: &RoomVersion, event: &Event) -> EventReference {
    let sha256 = if version.event_id_in_event() {
        base64::encode(reference_hash(version, event.json()))
    } else {
        String::new()
    };
    EventReference { event_id: event.event_id().to_owned(), sha256 }
}

/// An event's JSON as `events.json` has it.
///
/// # Panics
///
/// If the row is damaged.
pub fn parse_stored(json: &str) -> Map {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("a stored event is not a JSON object: {error}"))
}
