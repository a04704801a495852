//! Filters: what of a sync, a page of messages or a context the client wants. Client-Server API, "Filtering".

use matriarch_rules::{glob::matches_star, property_path};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Value};

use crate::base::response::{MatrixError, Result};

/// How many events a room's timeline holds in a sync, and a page of messages, when the client does not say.
pub const DEFAULT_LIMIT: usize = 10;
/// The most events of a timeline or page, whatever the client says.
pub const MAX_LIMIT: usize = 1000;

/// The filter of a sync.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    event_fields: Option<Vec<String>>,
    pub event_format: EventFormat,
    #[serde(deserialize_with = "object")]
    pub presence: EventFilter,
    #[serde(deserialize_with = "object")]
    pub account_data: EventFilter,
    #[serde(deserialize_with = "object")]
    pub room: RoomFilter,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventFormat {
    #[default]
    Client,
    Federation,
}

/// Filters of rooms and what is in them.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    rooms: Option<Vec<String>>,
    not_rooms: Option<Vec<String>>,
    pub include_leave: bool,
    #[serde(deserialize_with = "object")]
    pub timeline: EventFilter,
    #[serde(deserialize_with = "object")]
    pub state: EventFilter,
    #[serde(deserialize_with = "object")]
    pub ephemeral: EventFilter,
    #[serde(deserialize_with = "object")]
    pub account_data: EventFilter,
}

/// `EventFilter` and `RoomEventFilter` of the specification in one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    limit: Option<u64>,
    types: Option<Vec<String>>,
    not_types: Option<Vec<String>>,
    senders: Option<Vec<String>>,
    not_senders: Option<Vec<String>>,
    rooms: Option<Vec<String>>,
    not_rooms: Option<Vec<String>>,
    contains_url: Option<bool>,
    pub lazy_load_members: bool,
    /// Redundant members are always sent: nothing is remembered of what a client was sent before.
    include_redundant_members: bool,
    unread_thread_notifications: bool,
    /// Its name before it was stable.
    #[serde(rename = "org.matrix.msc3773.unread_thread_notifications")]
    unstable_unread_thread_notifications: bool,
}

impl EventFilter {
    /// The key for the unread counts of threads, if they are wanted apart from the room's.
    pub fn thread_counts_key(&self) -> Option<&'static str> {
        match (self.unread_thread_notifications, self.unstable_unread_thread_notifications) {
            (true, _) => Some("unread_thread_notifications"),
            (false, true) => Some("org.matrix.msc3773.unread_thread_notifications"),
            (false, false) => None,
        }
    }
}

impl Filter {
    /// Admits everything, up to this many events in each room.
    pub fn with_timeline_limit(limit: usize) -> Self {
        let mut filter = Self::default();
        filter.room.timeline.limit = Some(limit as u64);
        filter
    }

    /// Reads a filter object. 400 `M_BAD_JSON` for one that is not as the specification has it.
    pub fn parse(json: &str) -> Result<Self> {
        let filter: Self = read(json)?;
        let room = &filter.room;
        check_rooms(room.rooms.iter().chain(&room.not_rooms))?;
        for part in [&room.timeline, &room.state, &room.ephemeral, &room.account_data] {
            part.check()?;
        }
        filter.presence.check()?;
        filter.account_data.check()?;
        Ok(filter)
    }

    /// What is left of an event's JSON by `event_fields`.
    pub fn prune(&self, event: &str) -> Option<String> {
        let fields = self.event_fields.as_ref()?;
        let Ok(Value::Object(event)) = serde_json::from_str(event) else { return None };
        let mut kept = Map::new();
        for field in fields {
            copy_path(&event, &property_path::split(field), &mut kept);
        }
        Some(Value::Object(kept).to_string())
    }
}

impl RoomFilter {
    /// Whether anything of the room is wanted.
    pub fn admits_room(&self, room_id: &str) -> bool {
        admits(self.rooms.as_deref(), self.not_rooms.as_deref(), |id| id == room_id)
    }
}

/// What filters look at in an event.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub event_type: &'a str,
    /// Absent for events that nobody sent, such as account data.
    pub sender: Option<&'a str>,
    /// JSON text.
    pub content: &'a str,
}

impl EventFilter {
    /// Reads a `RoomEventFilter` object, as `/messages` takes it.
    pub fn parse(json: &str) -> Result<Self> {
        let filter: Self = read(json)?;
        filter.check()?;
        Ok(filter)
    }

    fn check(&self) -> Result<()> {
        check_rooms(self.rooms.iter().chain(&self.not_rooms))?;
        let mut users = self.senders.iter().chain(&self.not_senders).flatten();
        if users.any(|user| !user.starts_with('@')) {
            return Err(MatrixError::bad_json("A filter names a sender that is not a user id."));
        }
        Ok(())
    }

    /// How many events are wanted. 0 is taken as none, though the specification does not have it.
    pub fn limit(&self) -> usize {
        self.limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT))
    }

    pub fn admits_room(&self, room_id: &str) -> bool {
        admits(self.rooms.as_deref(), self.not_rooms.as_deref(), |id| id == room_id)
    }

    /// Whether it is plain that no event passes.
    pub fn admits_nothing(&self) -> bool {
        let empty = |list: &Option<Vec<String>>| list.as_ref().is_some_and(Vec::is_empty);
        let all = self.not_types.iter().flatten().any(|pattern| pattern == "*");
        empty(&self.types) || empty(&self.senders) || all
    }

    pub fn admits(&self, event: Subject<'_>) -> bool {
        admits(self.types.as_deref(), self.not_types.as_deref(), |pattern| {
            matches_star(pattern, event.event_type)
        }) && admits(self.senders.as_deref(), self.not_senders.as_deref(), |id| event.sender == Some(id))
            && self.contains_url.is_none_or(|wanted| wanted == has_url(event.content))
    }

    /// As [`EventFilter::admits`], for events that have no sender.
    pub fn admits_type(&self, event_type: &str) -> bool {
        self.admits(Subject { event_type, sender: None, content: "{}" })
    }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    let bad = |error: serde_json::Error| MatrixError::bad_json(format!("Bad filter: {error}"));
    let value: Value = serde_json::from_str(json).map_err(bad)?;
    // serde takes an array for a struct as well.
    let object = |value: &Value| value.is_object();
    let parts = ["presence", "account_data", "room", "timeline", "state", "ephemeral"];
    let inner = |value: &Value| parts.iter().filter_map(|part| value.get(part)).all(object);
    if !object(&value) || !inner(&value) || !value.get("room").is_none_or(inner) {
        return Err(MatrixError::bad_json("A filter, and each part of it, is an object."));
    }
    serde_json::from_value(value).map_err(bad)
}

/// Reads a struct from an object only: serde would take an array of its fields as well.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    let object = Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(object)).map_err(D::Error::custom)
}

fn check_rooms<'a>(mut lists: impl Iterator<Item = &'a Vec<String>>) -> Result<()> {
    if lists.any(|rooms| rooms.iter().any(|room| !room.starts_with('!'))) {
        return Err(MatrixError::bad_json("A filter names a room that is not a room id."));
    }
    Ok(())
}

/// In the list, if there is one, and not in the other: exclusion wins.
fn admits(list: Option<&[String]>, not_list: Option<&[String]>, is: impl Fn(&str) -> bool) -> bool {
    let listed = |list: &[String]| list.iter().any(|item| is(item));
    list.is_none_or(listed) && !not_list.is_some_and(listed)
}

fn has_url(content: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(content)
        .is_ok_and(|content| content.get("url").is_some_and(Value::is_string))
}

/// Copies what is at the path, if anything, to the same place in `to`.
fn copy_path(from: &Map<String, Value>, path: &[String], to: &mut Map<String, Value>) {
    let Some((key, rest)) = path.split_first() else { return };
    let Some(value) = from.get(key) else { return };
    if rest.is_empty() {
        to.insert(key.clone(), value.clone());
    } else if let Value::Object(inner) = value {
        let mut pruned = match to.remove(key) {
            Some(Value::Object(pruned)) => pruned,
            _ => Map::new(),
        };
        copy_path(inner, rest, &mut pruned);
        if !pruned.is_empty() {
            to.insert(key.clone(), Value::Object(pruned));
        }
    }
}
