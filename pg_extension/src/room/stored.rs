//! Stored events as they appear in a room's header and state.

use std::rc::Rc;

use matriarch_rules::{
    Event, Map, RoomVersion, base64,
    build::EventReference,
    hash::reference_hash,
    json::{ExactObject, parse_pdu},
};

/// A state key: `type` and `state_key`.
pub type StateKey = (String, String);

/// An event of the current state.
#[derive(Debug, Clone)]
pub struct StateEvent {
    pub nid: i64,
    pub event: Rc<Event>,
}

/// The entry of the current state at a state key.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The number of the state key, if the room ever had it.
    pub key_idx: Option<i32>,
    pub current: Option<StateEvent>,
}

/// A forward extremity.
#[derive(Debug, Clone)]
pub struct Extremity {
    pub nid: i64,
    /// How other events cite it. Loaded for those that the next event cites.
    pub reference: Option<EventReference>,
}

impl Extremity {
    /// How other events cite it.
    ///
    /// # Panics
    ///
    /// If that was not loaded: `Room::load` does it for those that the next event cites.
    pub fn cite(&self) -> EventReference {
        self.reference.clone().unwrap_or_else(|| panic!("the extremity {} was not loaded", self.nid))
    }
}

/// How other events cite this one: by its id, and in room versions 1 and 2 with its hash.
pub fn reference(version: &RoomVersion, event: &Event) -> EventReference {
    let sha256 = if version.event_id_in_event() {
        base64::encode(reference_hash(version, event.exact()))
    } else {
        String::new()
    };
    EventReference { event_id: event.event_id().to_owned(), sha256 }
}

/// Parses the text of `events.json`.
///
/// # Panics
///
/// If the row is damaged.
pub fn parse_stored(json: &str) -> Map {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("a stored event is not a JSON object: {error}"))
}

/// As [`parse_stored`], for an event that is to be hashed or written again: with its numbers as they stand.
///
/// # Panics
///
/// If the row is damaged.
pub fn parse_exactly(json: &str) -> ExactObject {
    parse_pdu(json).unwrap_or_else(|error| panic!("a stored event is not a JSON object: {error}"))
}
