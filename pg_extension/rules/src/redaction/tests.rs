#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{applies, redact, redacted_fields};
use crate::{Event, Map, RoomVersion, power_levels::PowerLevels, room_version::ALL};

fn object(value: Value) -> Map {
    value.as_object().unwrap().clone()
}

/// Those of the given keys of an event's content that redaction keeps.
fn kept(version: &RoomVersion, event_type: &str, keys: &[&str]) -> Vec<String> {
    let content: Map = keys.iter().map(|key| ((*key).to_owned(), json!({ "signed": 1, "x": 2 }))).collect();
    let event = object(json!({ "type": event_type, "content": content }));
    let redacted = redact(version, event);
    redacted["content"].as_object().unwrap().keys().cloned().collect()
}

/// The room versions in which redaction keeps a key in the content of a type.
fn versions_that_keep(event_type: &str, key: &str) -> Vec<usize> {
    (1..=12)
        .filter(|index| kept(&ALL[index - 1], event_type, &[key, "other"]).contains(&key.to_owned()))
        .collect()
}

fn from_to(from: usize, to: usize) -> Vec<usize> {
    (from..=to).collect()
}

#[test]
fn top_level_fields() {
    let always = [
        "event_id",
        "type",
        "room_id",
        "sender",
        "state_key",
        "content",
        "hashes",
        "signatures",
        "depth",
        "prev_events",
        "auth_events",
        "origin_server_ts",
    ];
    let until_10 = ["prev_state", "origin", "membership"];
    let never = ["unsigned", "redacts", "age_ts", "prev_content", "replaces_state"];
    let mut event = Map::new();
    for key in always.iter().chain(&until_10).chain(&never) {
        event.insert((*key).to_owned(), json!({}));
    }
    for version in &ALL {
        let redacted = redact(version, event.clone());
        assert!(always.iter().all(|key| redacted.contains_key(*key)));
        assert!(!never.iter().any(|key| redacted.contains_key(*key)));
        for key in until_10 {
            assert_eq!(redacted.contains_key(key), version.redaction_keeps_legacy_fields);
        }
    }
}

#[test]
fn content_of_each_type() {
    for (event_type, key, versions) in [
        ("m.room.member", "membership", from_to(1, 12)),
        ("m.room.member", "join_authorised_via_users_server", from_to(9, 12)),
        ("m.room.member", "third_party_invite", from_to(11, 12)),
        ("m.room.member", "displayname", vec![]),
        ("m.room.create", "creator", from_to(1, 12)),
        ("m.room.create", "room_version", from_to(11, 12)),
        ("m.room.create", "m.federate", from_to(11, 12)),
        ("m.room.join_rules", "join_rule", from_to(1, 12)),
        ("m.room.join_rules", "allow", from_to(8, 12)),
        ("m.room.power_levels", "ban", from_to(1, 12)),
        ("m.room.power_levels", "events", from_to(1, 12)),
        ("m.room.power_levels", "events_default", from_to(1, 12)),
        ("m.room.power_levels", "kick", from_to(1, 12)),
        ("m.room.power_levels", "redact", from_to(1, 12)),
        ("m.room.power_levels", "state_default", from_to(1, 12)),
        ("m.room.power_levels", "users", from_to(1, 12)),
        ("m.room.power_levels", "users_default", from_to(1, 12)),
        ("m.room.power_levels", "invite", from_to(11, 12)),
        ("m.room.power_levels", "notifications", vec![]),
        ("m.room.aliases", "aliases", from_to(1, 5)),
        ("m.room.history_visibility", "history_visibility", from_to(1, 12)),
        ("m.room.redaction", "redacts", from_to(11, 12)),
        ("m.room.redaction", "reason", vec![]),
        ("m.room.message", "body", vec![]),
        ("m.room.message", "membership", vec![]),
    ] {
        assert_eq!(versions_that_keep(event_type, key), versions, "{key} of {event_type}");
    }
}

#[test]
fn of_a_third_party_invite_only_what_is_signed_is_kept() {
    let content = |third_party_invite| {
        let event = object(json!({
            "type": "m.room.member",
            "content": { "third_party_invite": third_party_invite },
        }));
        redact(&ALL[10], event)["content"].clone()
    };
    assert_eq!(
        content(json!({ "signed": { "x": 1 }, "display_name": "x" })),
        json!({ "third_party_invite": { "signed": { "x": 1 } } })
    );
    assert_eq!(content(json!({ "display_name": "x" })), json!({ "third_party_invite": {} }));
    // It has no field `signed` that could be kept. (ruma keeps all of it.)
    assert_eq!(content(json!("x")), json!({}));
}

#[test]
fn malformed_content_becomes_empty() {
    for content in [json!(1), json!(null), json!([1])] {
        let event = object(json!({ "type": "m.room.create", "content": content }));
        assert_eq!(redact(&ALL[11], event)["content"], json!({}));
    }
    assert_eq!(redact(&ALL[11], Map::new()), Map::new());
}

#[test]
fn fields_without_cloning_are_those_of_redaction() {
    for version in &ALL {
        for event_type in ["m.room.member", "m.room.create", "m.room.message"] {
            let event = object(json!({
                "type": event_type,
                "origin": "a",
                "unsigned": {},
                "content": {
                    "membership": "join", "creator": "a", "third_party_invite": { "signed": 1, "x": 2 },
                },
            }));
            let fields: Map = redacted_fields(version, &event)
                .map(|(key, value)| (key.to_owned(), value.into_owned()))
                .collect();
            assert_eq!(fields, redact(version, event));
        }
    }
}

#[test]
fn redactions_apply_by_level_or_server() {
    let create = Event::new("$create", object(json!({ "sender": "@c:a", "content": {} })));
    let target = Event::new("$target", object(json!({ "sender": "@target:b", "room_id": "!r" })));
    let levels = Event::new("$levels", object(json!({ "content": { "users": { "@moderator:c": 50 } } })));
    for version in &ALL {
        let levels = PowerLevels::new(version, &create, Some(&levels));
        let redaction = |sender, redacts: &str, room_id| {
            let mut json =
                json!({ "type": "m.room.redaction", "sender": sender, "room_id": room_id, "content": {} });
            if version.redacts_in_content {
                json["content"]["redacts"] = redacts.into();
            } else {
                json["redacts"] = redacts.into();
            }
            Event::new("$redaction", object(json))
        };
        let applies = |redaction| applies(version, &redaction, &target, &levels);
        assert!(applies(redaction("@moderator:c", "$target", "!r")));
        assert!(applies(redaction("@other:b", "$target", "!r")));
        assert_eq!(applies(redaction("@other:c", "$target", "!r")), version.special_case_redaction);
        assert!(!applies(redaction("@moderator:c", "$other", "!r")));
        assert!(!applies(redaction("@moderator:c", "$target", "!s")));
    }
}
