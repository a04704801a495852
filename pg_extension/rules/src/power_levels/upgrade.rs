//! Power levels of rooms that are upgraded, and of those that replace them.

use serde_json::Value;

use super::{additional_creators, creator};
use crate::{Event, Map, RoomVersion};

/// The level of the room's creator, and in a trusted private chat of the invited users.
pub const CREATOR: i64 = 100;

/// Above every level that is given by default: only creators can upgrade rooms that have them (room version
/// 12).
const TOMBSTONE_FOR_CREATORS: i64 = 150;

/// The least level for sending messages and inviting in a replaced room.
const REPLACED_ROOM_LEVEL: i64 = 50;

/// A level that no user has by default with these power levels.
pub fn tombstone_for_creators(content: &Map) -> i64 {
    let state_default = content.get("state_default").and_then(Value::as_i64).unwrap_or_default();
    TOMBSTONE_FOR_CREATORS.max(state_default.saturating_add(1))
}

/// The power levels of a new room that replaces another: those of the old one, with levels for creators as
/// the new room version requires.
///
/// - `old_version`, `create`: those of the old room;
/// - `version`: that of the new room, which `user_id` creates, with `additional` creators.
pub fn of_replacement(
    mut levels: Map,
    old_version: &RoomVersion,
    create: &Event,
    version: &RoomVersion,
    user_id: &str,
    additional: &[String],
) -> Option<Map> {
    if version.integer_power_levels {
        make_integers(&mut levels);
    }
    let users = levels.entry("users").or_insert_with(|| Map::new().into()).as_object_mut()?;
    if version.privileged_creators {
        users.retain(|other, _| other != user_id && !additional.contains(other));
    } else if old_version.privileged_creators {
        let highest = users.values().filter_map(Value::as_i64).max().unwrap_or_default().max(CREATOR);
        let creators =
            creator(old_version, create).into_iter().chain(additional_creators(old_version, create));
        for creator in creators.chain([user_id]) {
            users.insert(creator.to_owned(), highest.into());
        }
    }
    if version.privileged_creators && !old_version.privileged_creators {
        let level = tombstone_for_creators(&levels);
        let events = levels.entry("events").or_insert_with(|| Map::new().into()).as_object_mut()?;
        events.insert("m.room.tombstone".to_owned(), level.into());
    }
    Some(levels)
}

/// The power levels of a replaced room after its tombstone: ordinary users cannot send messages any more.
pub fn after_tombstone(mut levels: Map) -> Map {
    let level = |levels: &Map, key: &str| levels.get(key).and_then(Value::as_i64).unwrap_or_default();
    let needed = level(&levels, "users_default").saturating_add(1).max(REPLACED_ROOM_LEVEL);
    for key in ["events_default", "invite"] {
        let raised = level(&levels, key).max(needed);
        levels.insert(key.to_owned(), raised.into());
    }
    levels
}

/// Makes integers of levels in strings, which only old room versions accept.
fn make_integers(content: &mut Map) {
    for value in content.values_mut() {
        match value {
            Value::Object(levels) => make_integers(levels),
            Value::String(text) => *value = text.trim().parse().unwrap_or(0_i64).into(),
            Value::Number(number) if !number.is_i64() => *value = 0.into(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
