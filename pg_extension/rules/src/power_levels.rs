//! Power levels: a view of `m.room.power_levels`, with its defaults and the creators of the room.
//!
//! Spec: [m.room.power_levels](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels). Each
//! level is read from the content only when it is needed, so that a malformed level affects only events that
//! depend on it.

pub mod upgrade;

use serde_json::Value;

use crate::{Event, Map, RoomVersion};

/// The creator's level in a room without `m.room.power_levels` (until room version 11).
const CREATOR_LEVEL: i64 = 100;

/// A user's power level. Every integer is less than infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserLevel {
    /// A level from `m.room.power_levels` or its defaults.
    Level(i64),
    /// The level of creators since room version 12.
    Infinite,
}

impl UserLevel {
    /// Whether the level is greater than or equal to a required one.
    pub fn reaches(self, required: i64) -> bool {
        self >= Self::Level(required)
    }
}

/// The name of a level that cannot be read: it is neither an integer nor anything that the room version
/// accepts as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the power level `{0}` is not an integer")]
pub struct MalformedLevel(pub String);

/// The single levels in the content of `m.room.power_levels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LevelName {
    /// `users_default`
    UsersDefault,
    /// `events_default`
    EventsDefault,
    /// `state_default`
    StateDefault,
    /// `ban`
    Ban,
    /// `redact`
    Redact,
    /// `kick`
    Kick,
    /// `invite`
    Invite,
}

impl LevelName {
    /// All names, in the order of the authorization rules.
    pub const ALL: [Self; 7] = [
        Self::UsersDefault,
        Self::EventsDefault,
        Self::StateDefault,
        Self::Ban,
        Self::Redact,
        Self::Kick,
        Self::Invite,
    ];

    /// The key in the content.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UsersDefault => "users_default",
            Self::EventsDefault => "events_default",
            Self::StateDefault => "state_default",
            Self::Ban => "ban",
            Self::Redact => "redact",
            Self::Kick => "kick",
            Self::Invite => "invite",
        }
    }

    /// The level if the content does not have the key, or the room has no `m.room.power_levels` event.
    pub fn default_level(self) -> i64 {
        match self {
            Self::UsersDefault | Self::EventsDefault | Self::Invite => 0,
            Self::StateDefault | Self::Ban | Self::Redact | Self::Kick => 50,
        }
    }
}

/// The power levels of a room.
#[derive(Clone, Copy, Debug)]
pub struct PowerLevels<'a> {
    version: &'a RoomVersion,
    create: &'a Event,
    content: Option<&'a Map>,
}

impl<'a> PowerLevels<'a> {
    /// The power levels of a room with this create event and, if there is one, this `m.room.power_levels`
    /// event.
    pub fn new(version: &'a RoomVersion, create: &'a Event, power_levels: Option<&'a Event>) -> Self {
        Self { version, create, content: power_levels.map(Event::content) }
    }

    /// A user's level.
    pub fn user_level(&self, user_id: &str) -> Result<UserLevel, MalformedLevel> {
        let is_creator = is_creator(self.version, self.create, user_id);
        if self.version.privileged_creators && is_creator {
            return Ok(UserLevel::Infinite);
        }
        if self.content.is_none() && is_creator {
            return Ok(UserLevel::Level(CREATOR_LEVEL));
        }
        match self.entry("users", user_id)? {
            Some(level) => Ok(UserLevel::Level(level)),
            None => self.level(LevelName::UsersDefault).map(UserLevel::Level),
        }
    }

    /// The level required to send an event of this type: its entry in `events`, else `state_default` or
    /// `events_default`.
    pub fn event_level(&self, event_type: &str, is_state: bool) -> Result<i64, MalformedLevel> {
        match self.entry("events", event_type)? {
            Some(level) => Ok(level),
            None if is_state => self.level(LevelName::StateDefault),
            None => self.level(LevelName::EventsDefault),
        }
    }

    /// One of the single levels: required to ban, kick, invite or redact, or a default.
    pub fn level(&self, name: LevelName) -> Result<i64, MalformedLevel> {
        match self.content {
            Some(content) => {
                Ok(level_in(self.version, content, name.as_str())?.unwrap_or(name.default_level()))
            }
            None => Ok(name.default_level()),
        }
    }

    /// The level required for a kind of notification, such as `room`: its entry in `notifications`, else 50.
    pub fn notification_level(&self, kind: &str) -> Result<i64, MalformedLevel> {
        Ok(self.entry("notifications", kind)?.unwrap_or(50))
    }

    /// Whether the user has the level of this name. `false` if a level cannot be read.
    pub fn may(&self, user_id: &str, name: LevelName) -> bool {
        matches!((self.user_level(user_id), self.level(name)), (Ok(has), Ok(needed)) if has.reaches(needed))
    }

    /// Whether the user has the level required to send events of this type. `false` if a level cannot be
    /// read.
    pub fn may_send(&self, user_id: &str, event_type: &str, is_state: bool) -> bool {
        matches!(
            (self.user_level(user_id), self.event_level(event_type, is_state)),
            (Ok(has), Ok(needed)) if has.reaches(needed)
        )
    }

    fn entry(&self, field: &str, key: &str) -> Result<Option<i64>, MalformedLevel> {
        match self.content.and_then(|content| content.get(field)) {
            None => Ok(None),
            Some(Value::Object(levels)) => level_in(self.version, levels, key),
            Some(_) => Err(MalformedLevel(field.to_owned())),
        }
    }
}

/// The room's creator: the sender of the create event, until room version 10 its `content.creator`.
pub fn creator<'a>(version: &RoomVersion, create: &'a Event) -> Option<&'a str> {
    if version.creator_is_sender { Some(create.sender()) } else { create.content().get("creator")?.as_str() }
}

/// Whether the user is the room's creator or an additional creator.
pub fn is_creator(version: &RoomVersion, create: &Event, user_id: &str) -> bool {
    creator(version, create) == Some(user_id)
        || additional_creators(version, create).any(|creator| creator == user_id)
}

/// The additional creators; none before room version 12.
pub fn additional_creators<'a>(
    version: &RoomVersion,
    create: &'a Event,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let creators =
        if version.privileged_creators { create.content().get("additional_creators") } else { None };
    creators.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The level at `key`; `None` if the key is absent.
pub(crate) fn level_in(
    version: &RoomVersion,
    levels: &Map,
    key: &str,
) -> Result<Option<i64>, MalformedLevel> {
    match levels.get(key) {
        None => Ok(None),
        Some(value) => match parse_level(version, value) {
            Some(level) => Ok(Some(level)),
            None => Err(MalformedLevel(key.to_owned())),
        },
    }
}

/// Reads a level: an integer; until room version 9 also an integer in a string; until room version 5 also a
/// float, which is truncated. Numbers beyond 64 bits saturate.
pub fn parse_level(version: &RoomVersion, value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(level) => Some(level),
            None if version.strict_canonical_json => None,
            // A float-to-integer cast saturates.
            None => number.as_f64().map(|float| float as i64),
        },
        Value::String(string) if !version.integer_power_levels => parse_level_string(string),
        _ => None,
    }
}

/// Reads an integer in a string: white space, an optional sign, decimal digits, white space.
fn parse_level_string(string: &str) -> Option<i64> {
    let trimmed = string.trim();
    let digits = trimmed.strip_prefix(['+', '-']).unwrap_or(trimmed);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let saturated = if trimmed.starts_with('-') { i64::MIN } else { i64::MAX };
    Some(trimmed.parse().unwrap_or(saturated))
}

#[cfg(test)]
mod tests;
