//! A lenient view of an event: fields are looked at when a rule reads them, and what no rule reads does not
//! matter.

use std::sync::LazyLock;

use serde_json::Value;

use crate::{Map, RoomVersion, hash};

pub mod format;

pub use format::{FormatError, check_pdu_format};

/// An event: its JSON, its id, and whether it was rejected.
///
/// Accessors never fail: a missing or malformed string is empty, a missing or malformed number is 0,
/// content that is not an object is empty. [`check_pdu_format`] tells whether anything is malformed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    event_id: String,
    /// The room id, if it is not in the JSON but derived from the event id.
    derived_room_id: Option<String>,
    rejected: bool,
    json: Map,
}

impl Event {
    /// An event whose id is known already.
    pub fn new(event_id: impl Into<String>, json: Map) -> Self {
        let event_id = event_id.into();
        // Only where the room's id is the create event's has a create event no `room_id` of its own.
        let derived_room_id = match event_id.strip_prefix('$') {
            Some(hash) if string(&json, "type") == "m.room.create" && !json.contains_key("room_id") => {
                Some(format!("!{hash}"))
            }
            _ => None,
        };
        Self { event_id, derived_room_id, rejected: false, json }
    }

    /// An event as received: checks its format and computes its id.
    pub fn from_pdu(version: &RoomVersion, json: Map) -> Result<Self, FormatError> {
        check_pdu_format(version, &json)?;
        let event_id = hash::event_id(version, &json).ok_or(FormatError::Missing("event_id"))?;
        Ok(Self::new(event_id, json))
    }

    /// The same event, marked as rejected (or not) by the checks on receipt. Events are not, unless told.
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// Whether the event was rejected by the checks on receipt.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The event's id.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// The room's id; `None` if it is missing or malformed. That of a create event in room version 12 is
    /// derived from its event id.
    pub fn room_id(&self) -> Option<&str> {
        match &self.derived_room_id {
            Some(room_id) => Some(room_id),
            None => self.json.get("room_id")?.as_str(),
        }
    }

    /// The user that sent the event.
    pub fn sender(&self) -> &str {
        string(&self.json, "sender")
    }

    /// The event's type.
    pub fn event_type(&self) -> &str {
        string(&self.json, "type")
    }

    /// The state key, if this is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.json.get("state_key")?.as_str()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key().is_some()
    }

    /// Whether this is a state event of this type and state key.
    pub fn is(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type() == event_type && self.state_key() == Some(state_key)
    }

    /// The content.
    pub fn content(&self) -> &Map {
        static EMPTY: LazyLock<Map> = LazyLock::new(Map::new);
        self.json.get("content").and_then(Value::as_object).unwrap_or(&EMPTY)
    }

    /// The ids of the events that give the sender permission. In room versions 1 and 2 they stand in pairs
    /// with hashes.
    pub fn auth_events(&self) -> impl Iterator<Item = &str> {
        references(&self.json, "auth_events")
    }

    /// The ids of the events before this one.
    pub fn prev_events(&self) -> impl Iterator<Item = &str> {
        references(&self.json, "prev_events")
    }

    /// One more than the greatest depth of the `prev_events`.
    pub fn depth(&self) -> i64 {
        integer(&self.json, "depth")
    }

    /// When the event was made by the sender's server's clock, in milliseconds since the Unix epoch.
    pub fn origin_server_ts(&self) -> i64 {
        integer(&self.json, "origin_server_ts")
    }

    /// The id of the event that this one redacts, if it is an `m.room.redaction`. Where it stands depends
    /// on the room version.
    pub fn redacts(&self, version: &RoomVersion) -> Option<&str> {
        if self.event_type() != "m.room.redaction" {
            return None;
        }
        let parent = if version.redacts_in_content { self.content() } else { &self.json };
        parent.get("redacts")?.as_str()
    }

    /// The whole JSON.
    pub fn json(&self) -> &Map {
        &self.json
    }

    /// The whole JSON, given away.
    pub fn into_json(self) -> Map {
        self.json
    }
}

fn string<'a>(json: &'a Map, key: &str) -> &'a str {
    json.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn integer(json: &Map, key: &str) -> i64 {
    json.get(key).and_then(Value::as_i64).unwrap_or_default()
}

/// The event ids in an array of ids or of pairs of an id and a hash.
fn references<'a>(json: &'a Map, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    let array = json.get(key).and_then(Value::as_array);
    array.into_iter().flatten().filter_map(|reference| match reference {
        Value::Array(pair) => pair.first()?.as_str(),
        _ => reference.as_str(),
    })
}

#[cfg(test)]
mod tests;
