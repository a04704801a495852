//! A lenient view of an event: a field is read only when a rule needs it, so that malformed fields that no
//! rule reads do no harm.

use std::sync::LazyLock;

use serde_json::Value;

use crate::{Map, RoomVersion, hash, json::ExactObject};

pub mod format;

pub use format::{FormatError, check_pdu_format};

/// An event: its JSON, its id, and whether it was rejected.
///
/// Accessors never fail: a missing or malformed string is empty, a missing or malformed number is 0, content
/// that is not an object is empty. [`check_pdu_format`] checks whether anything is malformed.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    event_id: String,
    /// The room id, if it is derived from the event id and not in the JSON.
    derived_room_id: Option<String>,
    rejected: bool,
    json: ExactObject,
}

impl Event {
    /// An event whose id is known.
    pub fn new(event_id: impl Into<String>, json: impl Into<ExactObject>) -> Self {
        let (event_id, json) = (event_id.into(), json.into());
        // A create event has no `room_id` only in room versions where the room's id is the create event's.
        let derived_room_id = match event_id.strip_prefix('$') {
            Some(hash)
                if string(&json.object, "type") == "m.room.create"
                    && !json.object.contains_key("room_id") =>
            {
                Some(format!("!{hash}"))
            }
            _ => None,
        };
        Self { event_id, derived_room_id, rejected: false, json }
    }

    /// An event from a PDU: checks its format and computes its id.
    pub fn from_pdu(version: &RoomVersion, json: impl Into<ExactObject>) -> Result<Self, FormatError> {
        let json = json.into();
        check_pdu_format(version, &json)?;
        let event_id = hash::event_id(version, &json).ok_or(FormatError::Missing("event_id"))?;
        Ok(Self::new(event_id, json))
    }

    /// Marks the event as rejected, or not, by the checks performed on receipt. New events are not rejected.
    pub fn with_rejected(mut self, rejected: bool) -> Self {
        self.rejected = rejected;
        self
    }

    /// Whether the checks performed on receipt rejected the event.
    pub fn rejected(&self) -> bool {
        self.rejected
    }

    /// The event's id.
    pub fn event_id(&self) -> &str {
        &self.event_id
    }

    /// The room's id; `None` if it is missing or malformed. Since room version 12, a create event's room id
    /// is derived from its event id.
    pub fn room_id(&self) -> Option<&str> {
        match &self.derived_room_id {
            Some(room_id) => Some(room_id),
            None => self.json.object.get("room_id")?.as_str(),
        }
    }

    /// The user that sent the event.
    pub fn sender(&self) -> &str {
        string(&self.json.object, "sender")
    }

    /// The event's type.
    pub fn event_type(&self) -> &str {
        string(&self.json.object, "type")
    }

    /// The `state_key`, if this is a state event.
    pub fn state_key(&self) -> Option<&str> {
        self.json.object.get("state_key")?.as_str()
    }

    /// Whether this is a state event.
    pub fn is_state(&self) -> bool {
        self.state_key().is_some()
    }

    /// Whether this is a state event with this `type` and `state_key`.
    pub fn is(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type() == event_type && self.state_key() == Some(state_key)
    }

    /// The content.
    pub fn content(&self) -> &Map {
        static EMPTY: LazyLock<Map> = LazyLock::new(Map::new);
        self.json.object.get("content").and_then(Value::as_object).unwrap_or(&EMPTY)
    }

    /// The ids in `auth_events`. In room versions 1 and 2 the array has pairs of an id and a hash.
    pub fn auth_events(&self) -> impl Iterator<Item = &str> {
        references(&self.json.object, "auth_events")
    }

    /// The ids in `prev_events`.
    pub fn prev_events(&self) -> impl Iterator<Item = &str> {
        references(&self.json.object, "prev_events")
    }

    /// One more than the greatest depth of the `prev_events`.
    pub fn depth(&self) -> i64 {
        integer(&self.json.object, "depth")
    }

    /// When the event was made, by the clock of the sender's server, in milliseconds since the Unix epoch.
    pub fn origin_server_ts(&self) -> i64 {
        integer(&self.json.object, "origin_server_ts")
    }

    /// The id of the event that this one redacts, if this is an `m.room.redaction`. The room version
    /// determines whether it is in the content.
    pub fn redacts(&self, version: &RoomVersion) -> Option<&str> {
        if self.event_type() != "m.room.redaction" {
            return None;
        }
        let parent = if version.redacts_in_content { self.content() } else { self.json() };
        parent.get("redacts")?.as_str()
    }

    /// The whole JSON.
    pub fn json(&self) -> &Map {
        &self.json.object
    }

    /// The whole JSON, without the event.
    pub fn into_json(self) -> Map {
        self.json.object
    }

    /// The whole JSON, without the event, with its numbers as they stand in the text.
    pub fn into_exact(self) -> ExactObject {
        self.json
    }

    /// The whole JSON, with its numbers as they stand in the text.
    pub fn exact(&self) -> &ExactObject {
        &self.json
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
