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
use crate::base::{
    response::{MatrixError, Result},
    users::User,
};

/// The content of the first `m.room.power_levels`, with the request's override on top, key by key.
///
/// # Errors
///
/// Those of [`fit_users`].
pub fn initial(creator: &User, request: &CreateRoom) -> Result<Map> {
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
    fit_users(&mut content, creator, request)?;
    let asked = request.power_level_override.get("events").and_then(|events| events.get("m.room.tombstone"));
    if creators_need_no_level && asked.is_none() {
        let level = tombstone_for_creators(&content);
        if let Some(events) = content.get_mut("events").and_then(Value::as_object_mut) {
            events.insert("m.room.tombstone".to_owned(), level.into());
        }
    }
    Ok(content)
}

/// Fits the `users` of power levels that the client gives to what the room version demands of them.
///
/// Clients that know nothing of privileged creators give the creator a level. If the client did not ask for
/// such a version, the levels of creators are removed, as the creators are above them all.
///
/// # Errors
///
/// 400 `M_INVALID_ROOM_STATE`: creators are named in a version that the client asked for, or the creator is
/// left without a level in one that needs it, so that the room could not be filled.
pub fn fit_users(content: &mut Map, creator: &User, request: &CreateRoom) -> Result<()> {
    let refuse = |error: String| Err(MatrixError::new(400, "M_INVALID_ROOM_STATE", error));
    if !request.version.privileged_creators {
        let by_default = content.get("users_default").and_then(Value::as_i64).is_some_and(|level| level > 0);
        let named = content.get("users").is_some_and(|users| users.get(&creator.id).is_some());
        return if by_default || named {
            Ok(())
        } else {
            refuse(format!("`users` must give {}, the room's creator, a level.", creator.id))
        };
    }
    let Some(users) = content.get_mut("users").and_then(Value::as_object_mut) else { return Ok(()) };
    let additional = request.create_content.get("additional_creators").and_then(Value::as_array);
    let additional = additional.into_iter().flatten().filter_map(Value::as_str);
    for user_id in [creator.id.as_str()].into_iter().chain(additional) {
        if users.contains_key(user_id) && request.names_version {
            return refuse(format!("`users` must not name {user_id}: creators have unlimited power."));
        }
        users.remove(user_id);
    }
    Ok(())
}
