//! Makes local events: fields, content hash, signature, event id, and the checks of the format.

use serde_json::{Value, json};

use crate::{
    Event, KeyPair, Map, RoomVersion,
    canonical_json::{CanonicalJsonError, check_64_bits},
    event::{FormatError, check_pdu_format},
    hash,
    identifiers::server_name,
    signature::hash_and_sign_event,
};

/// A reference to another event, as in `prev_events` and `auth_events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventReference {
    /// The event's id.
    pub event_id: String,
    /// The event's reference hash in unpadded base64. Only events of room versions 1 and 2 contain it, and no
    /// server checks it.
    pub sha256: String,
}

impl<T: Into<String>> From<T> for EventReference {
    /// A reference without the hash.
    fn from(event_id: T) -> Self {
        Self { event_id: event_id.into(), sha256: String::new() }
    }
}

/// The fields of an event to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventBuilder {
    /// The room's id; `None` for the create event since room version 12, as the room's id is made from its
    /// id.
    pub room_id: Option<String>,
    /// The user that sends the event.
    pub sender: String,
    /// The event's type.
    pub event_type: String,
    /// The state key, if it is a state event.
    pub state_key: Option<String>,
    /// The content.
    pub content: Map,
    /// The id of the event that an `m.room.redaction` redacts. It is put into the content or beside it, as
    /// the room version requires.
    pub redacts: Option<String>,
    /// The forward extremities of the room.
    pub prev_events: Vec<EventReference>,
    /// The events selected by [`auth_types_for_event`](crate::auth_types_for_event).
    pub auth_events: Vec<EventReference>,
    /// One more than the greatest depth of `prev_events`. [`into_json`](Self::into_json) limits it to what
    /// the room version allows.
    pub depth: i64,
    /// The time, in milliseconds since the Unix epoch.
    pub origin_server_ts: i64,
    /// `unsigned`, e.g. the transaction id; neither hashed nor signed.
    pub unsigned: Option<Map>,
    /// A new `$opaque:server`, for room versions 1 and 2, in which the sender's server chooses the event's
    /// id. Not used in later ones.
    pub event_id: Option<String>,
}

/// A finished event.
#[derive(Clone, Debug, PartialEq)]
pub struct BuiltEvent {
    /// The event, hashed and signed.
    pub event: Event,
    /// The canonical JSON of the event, which is stored and sent.
    pub canonical_json: String,
}

/// Why an event cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A field is malformed, missing or too large.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl From<CanonicalJsonError> for BuildError {
    fn from(error: CanonicalJsonError) -> Self {
        Self::Format(error.into())
    }
}

impl EventBuilder {
    /// Makes the event: sets its content hash and signs it with `key` for the sender's server. Does not apply
    /// the authorization rules ([`auth`](crate::auth)).
    pub fn build(self, version: &RoomVersion, key: &KeyPair) -> Result<BuiltEvent, BuildError> {
        let server = server_name(&self.sender).ok_or(FormatError::Malformed("sender"))?.to_owned();
        let mut json = self.into_json(version);
        check_64_bits(&json)?;
        hash_and_sign_event(version, &mut json, &server, key)?;
        let canonical_json = check_pdu_format(version, &json)?;
        let event_id = hash::event_id(version, &json).ok_or(FormatError::Missing("event_id"))?;
        Ok(BuiltEvent { event: Event::new(event_id, json), canonical_json })
    }

    /// The event's JSON without hashes and signatures, as `make_join` of the federation API returns it to the
    /// server that will sign it.
    pub fn into_json(self, version: &RoomVersion) -> Map {
        let references = |references: Vec<EventReference>| {
            references
                .into_iter()
                .map(|reference| {
                    if version.event_id_in_event() {
                        json!([reference.event_id, { "sha256": reference.sha256 }])
                    } else {
                        Value::String(reference.event_id)
                    }
                })
                .collect::<Value>()
        };
        let mut content = self.content;
        let mut json = Map::new();
        let mut set = |key: &str, value: Value| json.insert(key.to_owned(), value);
        if let Some(redacts) = self.redacts {
            if version.redacts_in_content {
                content.insert("redacts".to_owned(), redacts.into());
            } else {
                set("redacts", redacts.into());
            }
        }
        if let Some(room_id) = self.room_id {
            set("room_id", room_id.into());
        }
        if let Some(state_key) = self.state_key {
            set("state_key", state_key.into());
        }
        if let (Some(event_id), true) = (self.event_id, version.event_id_in_event()) {
            set("event_id", event_id.into());
        }
        if let Some(unsigned) = self.unsigned {
            set("unsigned", unsigned.into());
        }
        set("sender", self.sender.into());
        set("type", self.event_type.into());
        set("content", content.into());
        set("prev_events", references(self.prev_events));
        set("auth_events", references(self.auth_events));
        set("depth", self.depth.min(version.max_depth()).into());
        set("origin_server_ts", self.origin_server_ts.into());
        json
    }
}

#[cfg(test)]
mod tests;
