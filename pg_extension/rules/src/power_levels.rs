//! Who may do what: a view of `m.room.power_levels`, with its defaults and the creators of the room.
//!
//! Spec: [m.room.power_levels](https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels). Each
//! level is read from the content when it is asked for, so that a malformed one matters only to whom needs
//! it.

use serde_json::Value;

use crate::{Event, Map, RoomVersion};

/// The level of the creator in a room without `m.room.power_levels` (until room version 11).
const CREATOR_LEVEL: i64 = 100;

/// A user's power level. Every integer is less than infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UserLevel {
    /// The level that `m.room.power_levels` gives.
    Level(i64),
    /// That of creators since room version 12.
    Infinite,
}

impl UserLevel {
    /// Whether it is greater than or equal to this required level.
    pub fn reaches(self, required: i64) -> bool {
        self >= Self::Level(required)
    }
}

/// A level that cannot be read: not an integer, nor what the room version takes for one.
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
    /// All of them, in the order in which the authorization rules name them.
    pub const ALL: [Self; 7] = [
        Self::UsersDefault,
        Self::EventsDefault,
        Self::StateDefault,
        Self::Ban,
        Self::Redact,
        Self::Kick,
        Self::Invite,
    ];

    /// The name in the content.
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

    /// The level if the content does not name it, or there is no `m.room.power_levels` event.
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

    /// The level needed to send an event of this type: as `events` says, else `state_default` or
    /// `events_default`.
    pub fn event_level(&self, event_type: &str, is_state: bool) -> Result<i64, MalformedLevel> {
        match self.entry("events", event_type)? {
            Some(level) => Ok(level),
            None if is_state => self.level(LevelName::StateDefault),
            None => self.level(LevelName::EventsDefault),
        }
    }

    /// One of the single levels: needed to ban, kick, invite or redact, or a default.
    pub fn level(&self, name: LevelName) -> Result<i64, MalformedLevel> {
        match self.content {
            Some(content) => {
                Ok(level_in(self.version, content, name.as_str())?.unwrap_or(name.default_level()))
            }
            None => Ok(name.default_level()),
        }
    }

    /// The level needed for this kind of notification, e.g. `room`: as `notifications` says, else 50.
    pub fn notification_level(&self, kind: &str) -> Result<i64, MalformedLevel> {
        Ok(self.entry("notifications", kind)?.unwrap_or(50))
    }

    /// Whether the user's level suffices to do what needs this level. Levels that cannot be read never
    /// suffice.
    pub fn may(&self, user_id: &str, name: LevelName) -> bool {
        matches!((self.user_level(user_id), self.level(name)), (Ok(has), Ok(needed)) if has.reaches(needed))
    }

    /// Whether the user's level suffices to send events of this type. Levels that cannot be read never
    /// suffice.
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

/// The room's creator by the create event: its sender, or until room version 10 `content.creator`.
pub fn creator<'a>(version: &RoomVersion, create: &'a Event) -> Option<&'a str> {
    if version.creator_is_sender { Some(create.sender()) } else { create.content().get("creator")?.as_str() }
}

/// Whether the user is the room's creator or, where there are such, an additional one.
pub fn is_creator(version: &RoomVersion, create: &Event, user_id: &str) -> bool {
    creator(version, create) == Some(user_id)
        || additional_creators(version, create).any(|creator| creator == user_id)
}

/// The additional creators: since room version 12.
pub fn additional_creators<'a>(
    version: &RoomVersion,
    create: &'a Event,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let creators =
        if version.privileged_creators { create.content().get("additional_creators") } else { None };
    creators.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// The level at `key`, if there is anything.
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

/// Reads a level: an integer, and until room version 9 an integer in a string, and until room version 5 a
/// float, which is truncated. What is beyond 64 bits saturates.
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

/// Reads white space, an optional sign, decimal digits, white space.
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
