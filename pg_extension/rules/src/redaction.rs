//! The redaction algorithm, which strips an event of everything that rooms do not need to work.
//!
//! Spec: "Redactions" of each room version, e.g. [version
//! 11](https://spec.matrix.org/v1.19/rooms/v11/#redactions).

use std::borrow::Cow;

use serde_json::Value;

use crate::{
    Event, Map, RoomVersion,
    identifiers::same_server,
    json::ExactObject,
    power_levels::{LevelName, PowerLevels},
};

/// Redacts an event, which need not be well-formed: content that is not an object becomes an empty object.
pub fn redact(version: &RoomVersion, mut event: Map) -> Map {
    event.retain(|key, _| keeps_field(version, key));
    if let Some(content) = event.remove("content") {
        let kept = match content {
            Value::Object(content) => redact_content(version, event_type(&event), content),
            _ => Map::new(),
        };
        event.insert("content".to_owned(), kept.into());
    }
    event
}

/// As [`redact`]; what is kept has its numbers as they stood.
pub fn redact_exactly(version: &RoomVersion, event: ExactObject) -> ExactObject {
    ExactObject { object: redact(version, event.object), numbers: event.numbers }
}

/// Redacts the content of an event of this type.
pub fn redact_content(version: &RoomVersion, event_type: &str, mut content: Map) -> Map {
    content.retain(|key, _| keeps_content_field(version, event_type, key));
    if event_type == "m.room.member" {
        keep_signed_only(&mut content);
    }
    content
}

/// Keeps only `signed` of `third_party_invite`. Removes a `third_party_invite` that is not an object.
fn keep_signed_only(content: &mut Map) {
    match content.get_mut("third_party_invite") {
        Some(Value::Object(third_party_invite)) => {
            third_party_invite.retain(|key, _| key == "signed");
        }
        _ => {
            content.remove("third_party_invite");
        }
    }
}

/// Whether an accepted redaction is applied to its target. In room versions 1 and 2 always, since the
/// authorization rules check it; in later ones if its sender has the redact level or is on the same server as
/// the target's sender.
///
/// `levels` are the power levels in the state before the redaction. Spec: [Handling
/// redactions](https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions).
pub fn applies(version: &RoomVersion, redaction: &Event, target: &Event, levels: &PowerLevels<'_>) -> bool {
    redaction.redacts(version) == Some(target.event_id())
        && redaction.room_id() == target.room_id()
        && (version.special_case_redaction
            || levels.may(redaction.sender(), LevelName::Redact)
            || same_server(redaction.sender(), target.sender()))
}

/// The fields of a redacted event, sorted by key. Clones nothing but the content that is kept.
pub(crate) fn redacted_fields<'a>(
    version: &RoomVersion,
    event: &'a Map,
) -> impl Iterator<Item = (&'a str, Cow<'a, Value>)> {
    event.iter().filter(|(key, _)| keeps_field(version, key)).map(|(key, value)| {
        let kept = if key == "content" {
            Cow::Owned(redacted_content(version, event_type(event), value))
        } else {
            Cow::Borrowed(value)
        };
        (key.as_str(), kept)
    })
}

fn redacted_content(version: &RoomVersion, event_type: &str, content: &Value) -> Value {
    let kept = content
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| keeps_content_field(version, event_type, key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    redact_content(version, event_type, kept).into()
}

fn event_type(event: &Map) -> &str {
    event.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether redaction keeps this top-level field.
fn keeps_field(version: &RoomVersion, key: &str) -> bool {
    match key {
        "event_id" | "type" | "room_id" | "sender" | "state_key" | "content" | "hashes" | "signatures"
        | "depth" | "prev_events" | "auth_events" | "origin_server_ts" => true,
        "prev_state" | "origin" | "membership" => version.redaction_keeps_legacy_fields,
        _ => false,
    }
}

/// Whether redaction keeps this field of the content of an event of this type.
fn keeps_content_field(version: &RoomVersion, event_type: &str, key: &str) -> bool {
    match (event_type, key) {
        ("m.room.member", "membership") => true,
        ("m.room.member", "join_authorised_via_users_server") => version.redaction_keeps_join_authorized,
        ("m.room.member", "third_party_invite") => version.redaction_keeps_third_party_signed,
        ("m.room.create", "creator") => true,
        ("m.room.create", _) => version.redaction_keeps_create_content,
        ("m.room.join_rules", "join_rule") => true,
        ("m.room.join_rules", "allow") => version.redaction_keeps_join_rules_allow,
        (
            "m.room.power_levels",
            "ban" | "events" | "events_default" | "kick" | "redact" | "state_default" | "users"
            | "users_default",
        ) => true,
        ("m.room.power_levels", "invite") => version.redaction_keeps_invite_level,
        ("m.room.history_visibility", "history_visibility") => true,
        ("m.room.aliases", "aliases") => version.redaction_keeps_aliases,
        ("m.room.redaction", "redacts") => version.redaction_keeps_redacts,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
