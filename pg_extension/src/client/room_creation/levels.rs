//! The power levels of a new room.

use matriarch_rules::{
    Map,
    power_levels::upgrade::{CREATOR, tombstone_for_creators},
};
use serde_json::{Value, json};

use super::{
    object,
    request::{CreateRoom, Preset},
};
use crate::base::users::User;

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
