//! Filters: the parts of a sync, a page of messages or a context that a client requests. Client-Server API,
//! "Filtering".

use std::collections::BTreeSet;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error},
};
use serde_json::{Map, Number, Value};

use crate::{glob::matches_star, identifiers::MAX_ID_BYTES, property_path};

/// Why a text is no filter.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// Not JSON, or a field of another type.
    #[error("Bad filter: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An array or a scalar.
    #[error("A filter must be an object.")]
    NotAnObject,
    #[error("A sender in the filter is not a user id.")]
    NotAUserId,
    #[error("A room in the filter is not a room id.")]
    NotARoomId,
    #[error("A filter can have at most {MAX_BYTES} bytes.")]
    TooLong,
    #[error("A list of types or fields in a filter can have at most {MAX_PATTERNS} entries.")]
    TooManyPatterns,
    #[error("A type or field in a filter can have at most {MAX_ID_BYTES} bytes.")]
    PatternTooLong,
}

type Result<T> = std::result::Result<T, FilterError>;

/// How many events a room's timeline in a sync, or a page of messages, has if the client sets no limit.
pub const DEFAULT_LIMIT: usize = 10;
/// The greatest number of events in a timeline or page, whatever limit the client sets.
pub const MAX_LIMIT: usize = 1000;

/// Fields that an event has whatever `event_fields` says. Typed clients would drop a whole sync for an event
/// that lacks them.
const REQUIRED_FIELDS: [&str; 5] = ["type", "event_id", "sender", "state_key", "origin_server_ts"];
/// The greatest size of a filter's JSON. Thousands of rooms and users fit in.
const MAX_BYTES: usize = 65536;
/// The greatest number of entries in lists of types and fields. Each is compared with each event.
const MAX_PATTERNS: usize = 100;

/// The filter of a sync.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Paths of property names, sorted. None of them begins with another.
    #[serde(deserialize_with = "paths")]
    event_fields: Option<Vec<Vec<String>>>,
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

/// The filter of rooms and their events.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomFilter {
    rooms: Option<BTreeSet<String>>,
    not_rooms: Option<BTreeSet<String>>,
    pub include_leave: bool,
    #[serde(deserialize_with = "object")]
    pub timeline: RoomEventFilter,
    #[serde(deserialize_with = "object")]
    pub state: RoomEventFilter,
    #[serde(deserialize_with = "object")]
    pub ephemeral: RoomEventFilter,
    #[serde(deserialize_with = "object")]
    pub account_data: RoomEventFilter,
}

/// The filter of events that belong to no room. Keys of other filters are ignored, as all unknown keys.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct EventFilter {
    #[serde(deserialize_with = "whole_number")]
    limit: Option<u64>,
    types: Option<Vec<String>>,
    not_types: Option<Vec<String>>,
    senders: Option<BTreeSet<String>>,
    not_senders: Option<BTreeSet<String>>,
}

/// The filter of events of rooms.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct RoomEventFilter {
    #[serde(flatten)]
    events: EventFilter,
    rooms: Option<BTreeSet<String>>,
    not_rooms: Option<BTreeSet<String>>,
    contains_url: Option<bool>,
    pub lazy_load_members: bool,
    /// Not used. Redundant members are always sent, as the server does not store what a client was sent
    /// before.
    include_redundant_members: bool,
    unread_thread_notifications: bool,
    /// The unstable name of `unread_thread_notifications` (MSC3773).
    #[serde(rename = "org.matrix.msc3773.unread_thread_notifications")]
    unstable_unread_thread_notifications: bool,
}

impl RoomEventFilter {
    /// The key for the unread counts of threads in the response; `None` if the client does not request them.
    pub fn thread_counts_key(&self) -> Option<&'static str> {
        match (self.unread_thread_notifications, self.unstable_unread_thread_notifications) {
            (true, _) => Some("unread_thread_notifications"),
            (false, true) => Some("org.matrix.msc3773.unread_thread_notifications"),
            (false, false) => None,
        }
    }
}

impl Filter {
    /// A filter that admits everything, up to `limit` timeline events in each room.
    pub fn with_timeline_limit(limit: usize) -> Self {
        let mut filter = Self::default();
        filter.room.timeline.events.limit = Some(limit as u64);
        filter
    }

    /// Reads a filter object. The error is for one that does not match the specification.
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

    /// The event's JSON with only the fields in `event_fields`, and those without which clients take it for
    /// no event; `None` if the filter does not set that.
    pub fn prune(&self, event: &str) -> Option<String> {
        let fields = self.event_fields.as_ref()?;
        let Ok(Value::Object(event)) = serde_json::from_str(event) else { return None };
        let mut kept = Map::new();
        for field in REQUIRED_FIELDS {
            copy_path(&event, &[field.to_owned()], &mut kept);
        }
        for path in fields {
            copy_path(&event, path, &mut kept);
        }
        kept.entry("content").or_insert_with(|| Value::Object(Map::new()));
        Some(Value::Object(kept).to_string())
    }
}

impl RoomFilter {
    /// Whether the filter includes the room.
    pub fn admits_room(&self, room_id: &str) -> bool {
        admits(&self.rooms, &self.not_rooms, |rooms| names(rooms, room_id))
    }
}

/// The parts of an event that filters check.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub event_type: &'a str,
    /// `None` for events without a sender, such as account data.
    pub sender: Option<&'a str>,
    /// JSON text.
    pub content: &'a str,
}

impl EventFilter {
    fn check(&self) -> Result<()> {
        check_patterns(self.types.as_deref())?;
        check_patterns(self.not_types.as_deref())?;
        let mut users = self.senders.iter().chain(&self.not_senders).flatten();
        if users.any(|user| !user.starts_with('@') && user != ANY) {
            return Err(FilterError::NotAUserId);
        }
        Ok(())
    }

    /// The greatest number of events to return. 0 returns none, although the specification does not allow it.
    pub fn limit(&self) -> usize {
        self.limit.map_or(DEFAULT_LIMIT, |limit| usize::try_from(limit).unwrap_or(MAX_LIMIT).min(MAX_LIMIT))
    }

    /// Whether no event at all can pass. `false` also in less obvious cases, where it only costs time.
    pub fn admits_nothing(&self) -> bool {
        let no_type = self.not_types.iter().flatten().any(|pattern| pattern == ANY);
        let no_sender = self.not_senders.as_ref().is_some_and(|users| users.contains(ANY));
        self.types.as_ref().is_some_and(Vec::is_empty)
            || self.senders.as_ref().is_some_and(BTreeSet::is_empty)
            || no_type
            || no_sender
    }

    pub fn admits(&self, event: Subject<'_>) -> bool {
        let by_type =
            |types: &Vec<String>| types.iter().any(|pattern| matches_star(pattern, event.event_type));
        let by_sender = |users: &BTreeSet<String>| event.sender.is_some_and(|sender| names(users, sender));
        admits(&self.types, &self.not_types, by_type) && admits(&self.senders, &self.not_senders, by_sender)
    }

    /// As [`EventFilter::admits`], for events that have no sender.
    pub fn admits_type(&self, event_type: &str) -> bool {
        self.admits(Subject { event_type, sender: None, content: "{}" })
    }
}

impl RoomEventFilter {
    /// Reads a `RoomEventFilter` object, which `/messages` takes. Errors as in [`Filter::parse`].
    pub fn parse(json: &str) -> Result<Self> {
        let filter: Self = read(json)?;
        filter.check()?;
        Ok(filter)
    }

    fn check(&self) -> Result<()> {
        check_rooms(self.rooms.iter().chain(&self.not_rooms))?;
        self.events.check()
    }

    /// As [`EventFilter::limit`].
    pub fn limit(&self) -> usize {
        self.events.limit()
    }

    /// As [`EventFilter::admits_nothing`].
    pub fn admits_nothing(&self) -> bool {
        self.events.admits_nothing() || self.not_rooms.as_ref().is_some_and(|rooms| rooms.contains(ANY))
    }

    pub fn admits_room(&self, room_id: &str) -> bool {
        admits(&self.rooms, &self.not_rooms, |rooms| names(rooms, room_id))
    }

    pub fn admits(&self, event: Subject<'_>) -> bool {
        self.events.admits(event) && self.contains_url.is_none_or(|wanted| wanted == has_url(event.content))
    }

    /// As [`EventFilter::admits_type`].
    pub fn admits_type(&self, event_type: &str) -> bool {
        self.admits(Subject { event_type, sender: None, content: "{}" })
    }
}

/// Stands for every room, or every user, in a list.
const ANY: &str = "*";

fn names(list: &BTreeSet<String>, id: &str) -> bool {
    list.contains(ANY) || list.contains(id)
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    if json.len() > MAX_BYTES {
        return Err(FilterError::TooLong);
    }
    let value = without_nulls(serde_json::from_str(json)?);
    // By itself serde also reads a struct from an array of its fields.
    if !value.is_object() {
        return Err(FilterError::NotAnObject);
    }
    Ok(serde_json::from_value(value)?)
}

/// Reads a struct from an object only. By itself serde also accepts an array of its fields.
fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    deserializer: D,
) -> std::result::Result<T, D::Error> {
    let object = Map::deserialize(deserializer)?;
    serde_json::from_value(Value::Object(object)).map_err(D::Error::custom)
}

/// Removes keys whose value is null at any depth of objects: clients write them for keys that they do not
/// set.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(object) => {
            let present = object.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        value => value,
    }
}

/// Reads a whole number in any form, such as `20.0` or `1e2`, which languages without integers write.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Option<u64>, D::Error> {
    let number = Number::deserialize(deserializer)?;
    let float = || number.as_f64().filter(|float| *float >= 0.0 && float.fract() == 0.0);
    // A float that is too large for the integer becomes the largest one.
    let whole = number.as_u64().or_else(|| float().map(|float| float as u64));
    whole.map(Some).ok_or_else(|| D::Error::custom(format!("{number} is not a number of events")))
}

fn check_rooms<'a>(mut lists: impl Iterator<Item = &'a BTreeSet<String>>) -> Result<()> {
    if lists.any(|rooms| rooms.iter().any(|room| !room.starts_with('!') && room != ANY)) {
        return Err(FilterError::NotARoomId);
    }
    Ok(())
}

/// Checks the lengths of patterns and of their list.
fn check_patterns(patterns: Option<&[String]>) -> Result<()> {
    let patterns = patterns.unwrap_or_default();
    if patterns.len() > MAX_PATTERNS {
        return Err(FilterError::TooManyPatterns);
    }
    if patterns.iter().any(|pattern| pattern.len() > MAX_ID_BYTES) {
        return Err(FilterError::PatternTooLong);
    }
    Ok(())
}

/// Reads `event_fields`.
fn paths<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<Option<Vec<Vec<String>>>, D::Error> {
    let Some(fields) = Option::<Vec<String>>::deserialize(deserializer)? else { return Ok(None) };
    check_patterns(Some(&fields)).map_err(D::Error::custom)?;
    let mut paths: Vec<_> = fields.iter().map(|field| property_path::split(field)).collect();
    paths.sort_unstable();
    // What is within a field that is kept is copied with it.
    paths.dedup_by(|path, shorter| path.starts_with(shorter));
    Ok(Some(paths))
}

/// Whether an item is in `list`, if there is one, and not in `not_list`.
fn admits<L>(list: &Option<L>, not_list: &Option<L>, has: impl Fn(&L) -> bool) -> bool {
    list.as_ref().is_none_or(&has) && !not_list.as_ref().is_some_and(&has)
}

fn has_url(content: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(content)
        .is_ok_and(|content| content.get("url").is_some_and(Value::is_string))
}

/// Copies the value at a path, if there is one, to the same path in `to`.
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

#[cfg(test)]
mod tests;
