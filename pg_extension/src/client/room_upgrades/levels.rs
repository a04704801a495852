//! Power levels of rooms that are upgraded.

use matriarch_rules::{Event, Map};
use serde_json::Value;

use super::{POWER_LEVELS, Request, TOMBSTONE, creators};
use crate::{
    base::users::User,
    client::room_creation::levels::{CREATOR, tombstone_for_creators},
    room::Room,
};

/// The least level for sending messages and inviting in a replaced room.
const REPLACED_ROOM_LEVEL: i64 = 50;

/// The power levels of the new room: those of the old one, with levels for creators as the new room version
/// requires. `None` if the old room has none.
pub fn of_replacement(old: &mut Room<'_>, create: &Event, user: &User, request: &Request<'_>) -> Option<Map> {
    let mut content = old.state(POWER_LEVELS, "")?.event.content().clone();
    if request.version.integer_power_levels {
        make_integers(&mut content);
    }
    let users = content.entry("users").or_insert_with(|| Map::new().into()).as_object_mut()?;
    if request.version.privileged_creators {
        users.retain(|user_id, _| *user_id != user.id && !request.additional_creators.contains(user_id));
    } else if old.version.privileged_creators {
        let highest = users.values().filter_map(Value::as_i64).max().unwrap_or_default().max(CREATOR);
        for creator in creators(old.version, create).into_iter().chain([user.id.as_str()]) {
            users.insert(creator.to_owned(), highest.into());
        }
    }
    if request.version.privileged_creators && !old.version.privileged_creators {
        let level = tombstone_for_creators(&content);
        let events = content.entry("events").or_insert_with(|| Map::new().into()).as_object_mut()?;
        events.insert(TOMBSTONE.to_owned(), level.into());
    }
    Some(content)
}

/// The power levels of the old room after the tombstone: ordinary users cannot send messages any more.
pub fn after_tombstone(old: &mut Room<'_>) -> Option<Map> {
    let mut content = old.state(POWER_LEVELS, "")?.event.content().clone();
    let level = |content: &Map, key: &str| content.get(key).and_then(Value::as_i64).unwrap_or_default();
    let needed = level(&content, "users_default").saturating_add(1).max(REPLACED_ROOM_LEVEL);
    for key in ["events_default", "invite"] {
        let raised = level(&content, key).max(needed);
        content.insert(key.to_owned(), raised.into());
    }
    Some(content)
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
