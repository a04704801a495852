//! The power levels of a new room.

use matriarch_rules::Map;
use serde_json::{Value, json};

use super::{
    object,
    request::{CreateRoom, Preset},
};
use crate::base::users::User;

/// The level of the room's creator, and in a trusted private chat of the invited users.
pub const CREATOR: i64 = 100;

/// Above every level that is given by default: only creators can upgrade rooms that have them (room version
/// 12).
const TOMBSTONE_FOR_CREATORS: i64 = 150;

/// The content of the first `m.room.power_levels`, with the request's override on top, key by key.
pub fn initial(creator: &User, request: &CreateRoom) -> Map {
    let creators_need_no_level = request.version.privileged_creators;
    let mut users = Map::new();
    if !creators_need_no_level {
        users.insert(creator.id.clone(), CREATOR.into());
        if request.preset == Preset::TrustedPrivate {
            users.extend(request.invite.iter().map(|user_id| (user_id.clone(), CREATOR.into())));
        }
    }
    let mut content = object(json!({
        "users": users,
        "users_default": 0,
        "events": {
            "m.room.name": 50,
            "m.room.avatar": 50,
            "m.room.canonical_alias": 50,
            "m.room.power_levels": 100,
            "m.room.history_visibility": 100,
            "m.room.encryption": 100,
            "m.room.server_acl": 100,
            "m.room.tombstone": CREATOR,
        },
        "events_default": 0,
        "state_default": 50,
        "invite": if request.preset == Preset::Public { 50 } else { 0 },
        "kick": 50,
        "ban": 50,
        "redact": 50,
        "notifications": { "room": 50 },
    }));
    content.extend(request.power_level_override.clone());
    let asked = request.power_level_override.get("events").and_then(|events| events.get("m.room.tombstone"));
    if creators_need_no_level && asked.is_none() {
        let level = tombstone_for_creators(&content);
        if let Some(events) = content.get_mut("events").and_then(Value::as_object_mut) {
            events.insert("m.room.tombstone".to_owned(), level.into());
        }
    }
    content
}

/// A level that no user has by default with these power levels.
pub fn tombstone_for_creators(content: &Map) -> i64 {
    let state_default = content.get("state_default").and_then(Value::as_i64).unwrap_or_default();
    TOMBSTONE_FOR_CREATORS.max(state_default.saturating_add(1))
}
