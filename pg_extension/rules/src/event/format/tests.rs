#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{FormatError, MAX_PDU_BYTES, check_pdu_format};
use crate::{Event, Map, RoomVersion, hash, room_version::ALL};

fn message(version: &RoomVersion) -> Map {
    let reference =
        if version.event_id_in_event() { json!(["$r:a", { "sha256": "x" }]) } else { json!("$r") };
    let mut event = json!({
        "type": "m.room.message", "sender": "@u:a", "room_id": "!r:a", "content": {},
        "hashes": { "sha256": "x" }, "signatures": {}, "prev_events": [reference], "auth_events": [reference],
        "depth": 1, "origin_server_ts": 1,
    });
    if version.event_id_in_event() {
        event["event_id"] = "$e:a".into();
    }
    event.as_object().unwrap().clone()
}

fn with(version: &RoomVersion, field: &str, value: Value) -> Map {
    let mut event = message(version);
    event.insert(field.to_owned(), value);
    event
}

fn check(version: &RoomVersion, field: &str, value: Value) -> Result<String, FormatError> {
    check_pdu_format(version, &with(version, field, value))
}

#[test]
fn good_events_pass_and_become_canonical_json() {
    for version in &ALL {
        let event = message(version);
        let canonical = check_pdu_format(version, &event).unwrap();
        assert_eq!(crate::json::parse_object(&canonical).unwrap(), event);
        let parsed = Event::from_pdu(version, event.clone()).unwrap();
        assert_eq!(Some(parsed.event_id()), hash::event_id(version, &event).as_deref());
        check(version, "unsigned", json!(null)).unwrap();
        check(version, "unknown", json!([])).unwrap();
        check(version, "state_key", json!("")).unwrap();
    }
}

#[test]
fn required_fields_are_required() {
    for version in &ALL {
        for field in message(version).keys() {
            let mut event = message(version);
            event.remove(field);
            let missing = check_pdu_format(version, &event).unwrap_err();
            assert!(matches!(missing, FormatError::Missing(name) if name == field), "{missing}");
            let malformed = check(version, field, json!(true)).unwrap_err();
            assert!(matches!(malformed, FormatError::Malformed(name) if name == field), "{malformed}");
        }
    }
}

#[test]
fn identifiers_have_at_most_255_bytes() {
    for version in &ALL {
        let filled = |prefix: &str, suffix: &str, bytes: usize| {
            let filling = bytes - prefix.len() - suffix.len();
            // Bytes, not characters.
            json!(format!("{prefix}{}{}{suffix}", "é".repeat(filling / 2), "x".repeat(filling % 2)))
        };
        let mut fields =
            vec![("type", "", ""), ("state_key", "", ""), ("sender", "@", ":a"), ("room_id", "!", ":a")];
        if version.event_id_in_event() {
            fields.push(("event_id", "$", ":a"));
        }
        for (field, prefix, suffix) in fields {
            check(version, field, filled(prefix, suffix, 255)).unwrap();
            let long = check(version, field, filled(prefix, suffix, 256));
            assert_eq!(long, Err(FormatError::TooLong(field)));
        }
    }
}

#[test]
fn identifiers_have_their_form() {
    for version in &ALL {
        for sender in ["", "u", "@u", "@u:", "@u:a b"] {
            let result = check(version, "sender", sender.into());
            assert_eq!(result, Err(FormatError::Malformed("sender")));
        }
        let result = check(version, "room_id", "r:a".into());
        assert_eq!(result, Err(FormatError::Malformed("room_id")));
        let result = check(version, "state_key", json!(null));
        assert_eq!(result, Err(FormatError::Malformed("state_key")));
    }
}

#[test]
fn references_are_limited_in_number_and_form() {
    for version in &ALL {
        let own = message(version)["prev_events"][0].clone();
        let other =
            if version.event_id_in_event() { json!("$r") } else { json!(["$r:a", { "sha256": "x" }]) };
        for (field, limit) in [("prev_events", 20), ("auth_events", 10)] {
            check(version, field, json!([])).unwrap();
            check(version, field, vec![own.clone(); limit].into()).unwrap();
            let many = check(version, field, vec![own.clone(); limit + 1].into());
            assert_eq!(many, Err(FormatError::TooMany(field)));
            for malformed in [other.clone(), json!(1), json!(null), json!(["$r:a"]), json!([1, {}])] {
                let result = check(version, field, json!([own, malformed]));
                assert_eq!(result, Err(FormatError::Malformed(field)));
            }
        }
    }
}

#[test]
fn events_have_at_most_65536_bytes() {
    for version in &ALL {
        let empty = check(version, "content", json!({ "body": "" })).unwrap().len();
        let body = |bytes: usize| json!({ "body": "x".repeat(bytes - empty) });
        check(version, "content", body(MAX_PDU_BYTES)).unwrap();
        let large = check(version, "content", body(MAX_PDU_BYTES + 1));
        assert_eq!(large, Err(FormatError::TooLarge(MAX_PDU_BYTES + 1)));
    }
}

#[test]
fn numbers_are_limited_since_version_6() {
    for version in &ALL {
        for (field, value) in [
            ("content", json!({ "a": [1.5] })),
            ("content", json!({ "a": 1i64 << 53 })),
            ("unsigned", json!({ "a": -0.0 })),
            ("depth", json!(i64::MAX)),
            ("depth", json!(version.max_depth())),
        ] {
            let result = check(version, field, value.clone());
            let allowed = !version.strict_canonical_json || value == json!((1i64 << 53) - 1);
            assert_eq!(result.is_ok(), allowed, "{field} {value}");
        }
        for depth in [json!(-1), json!(1.5), json!("1")] {
            check(version, "depth", depth).unwrap_err();
        }
    }
}

#[test]
fn create_events_have_no_room_id_since_version_12() {
    for version in &ALL {
        let mut create = with(version, "type", "m.room.create".into());
        check_pdu_format(version, &create).unwrap();
        create.remove("room_id");
        let result = check_pdu_format(version, &create);
        assert_eq!(result.is_ok(), version.room_id_is_create_event_id);
        if result.is_ok() {
            let event = Event::from_pdu(version, create).unwrap();
            assert_eq!(event.room_id().unwrap()[1..], event.event_id()[1..]);
        }
    }
}
