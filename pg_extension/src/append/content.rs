//! Checks of state events from clients that the authorization rules do not make.

use std::collections::BTreeSet;

use matriarch_rules::{Map, identifiers::is_room_alias, server_acl};
use serde_json::Value;

use crate::{
    base::response::{MatrixError, Result},
    room::{Room, redaction::REDACTION},
};

const ALIASES_OF_ROOM: &str =
    "select room_alias from room_aliases where room_nid = $1 and room_alias = any($2)";

/// Checks the content of a state event from a client (Client-Server API, "PUT state"). Member events are
/// checked in `client/room_membership`.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` for `m.room.create`, 400 `M_INVALID_PARAM` for `m.room.redaction` and for a tombstone
/// that names its own room, 400 `M_BAD_JSON` for an `m.room.server_acl` that is malformed or denies this
/// server and for malformed `m.room.power_levels`, 400 `M_INVALID_PARAM` or `M_BAD_ALIAS` for aliases in
/// `m.room.canonical_alias`.
pub fn check(room: &mut Room<'_>, event_type: &str, content: &Map) -> Result<()> {
    match event_type {
        "m.room.create" => Err(MatrixError::forbidden("A room has only one create event.")),
        // Other servers and clients would apply it, unchecked.
        REDACTION => Err(MatrixError::invalid_param("A redaction has no state key.")),
        "m.room.server_acl" => check_server_acl(room, content),
        "m.room.tombstone" if content.get("replacement_room").is_some_and(|id| *id == *room.id) => {
            Err(MatrixError::invalid_param("A room cannot replace itself."))
        }
        "m.room.power_levels" => check_power_levels(content),
        "m.room.canonical_alias" => check_canonical_alias(room, content),
        _ => Ok(()),
    }
}

/// Checks that aliases which the event adds are well-formed and point to this room.
fn check_canonical_alias(room: &mut Room<'_>, content: &Map) -> Result<()> {
    let current = room.state("m.room.canonical_alias", "");
    let old = match &current {
        Some(current) => named_aliases(current.event.content()).unwrap_or_default(),
        None => BTreeSet::new(),
    };
    let new: Vec<&str> = named_aliases(content)?.difference(&old).copied().collect();
    if let Some(malformed) = new.iter().find(|alias| !is_room_alias(alias)) {
        return Err(MatrixError::invalid_param(format!("{malformed:?} is not a room alias.")));
    }
    if new.is_empty() {
        return Ok(());
    }
    let rows = room.db.query(ALIASES_OF_ROOM, &[room.nid.into(), new.clone().into()]);
    let known: BTreeSet<String> = rows.map(|row| row.get("room_alias")).collect();
    match new.iter().find(|alias| !known.contains(**alias)) {
        None => Ok(()),
        Some(alias) => {
            let error = format!("The alias {alias} does not point to this room.");
            Err(MatrixError::new(400, "M_BAD_ALIAS", error))
        }
    }
}

/// The aliases in `m.room.canonical_alias`.
fn named_aliases(content: &Map) -> Result<BTreeSet<&str>> {
    let malformed = |key| MatrixError::bad_json(format!("`{key}` of m.room.canonical_alias is malformed."));
    let mut aliases = BTreeSet::new();
    match content.get("alias") {
        // Older clients remove the alias by an empty string.
        None | Some(Value::Null) => {}
        Some(Value::String(alias)) if alias.is_empty() => {}
        Some(Value::String(alias)) => {
            aliases.insert(alias.as_str());
        }
        Some(_) => return Err(malformed("alias")),
    }
    match content.get("alt_aliases") {
        None | Some(Value::Null) => {}
        Some(Value::Array(others)) => {
            for alias in others {
                aliases.insert(alias.as_str().ok_or_else(|| malformed("alt_aliases"))?);
            }
        }
        Some(_) => return Err(malformed("alt_aliases")),
    }
    Ok(aliases)
}

/// Checks an `m.room.server_acl`. Client-Server API, "m.room.server_acl". One that denies this server could
/// not be undone: the other servers would refuse all that this one sends.
fn check_server_acl(room: &Room<'_>, content: &Map) -> Result<()> {
    let is_list = |key| match content.get(key) {
        None => true,
        Some(list) => list.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
    };
    let is_flag = content.get("allow_ip_literals").is_none_or(Value::is_boolean);
    if !(is_list("allow") && is_list("deny") && is_flag) {
        return Err(MatrixError::bad_json("The content of m.room.server_acl is malformed."));
    }
    if !server_acl::admits(content, &room.signer.server_name) {
        return Err(MatrixError::bad_json("This m.room.server_acl denies your own server."));
    }
    Ok(())
}

/// Checks that power levels are integers. Older room versions accept other levels, but nobody should make
/// such events anew.
fn check_power_levels(content: &Map) -> Result<()> {
    let malformed =
        |key: &str| Err(MatrixError::bad_json(format!("`{key}` of m.room.power_levels is not an integer.")));
    for (key, value) in content {
        match key.as_str() {
            "users_default" | "events_default" | "state_default" | "ban" | "kick" | "redact" | "invite"
                if !value.is_i64() =>
            {
                return malformed(key);
            }
            "users" | "events" | "notifications" => {
                let levels = value.as_object();
                let Some(levels) = levels else { return malformed(key) };
                if let Some((name, _)) = levels.iter().find(|(_, level)| !level.is_i64()) {
                    return malformed(name);
                }
            }
            _ => {}
        }
    }
    Ok(())
}
