#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{BuildError, EventBuilder, EventReference};
use crate::{
    Event, KeyPair, Map, RoomVersion,
    canonical_json::MAX_INTEGER,
    event::FormatError,
    json::parse_object,
    room_version::ALL,
    signature::{Verified, verify_event},
};

fn key() -> KeyPair {
    KeyPair::from_seed("ed25519:k", &[5; 32]).unwrap()
}

fn content(value: Value) -> Map {
    value.as_object().unwrap().clone()
}

fn message(version: &RoomVersion) -> EventBuilder {
    EventBuilder {
        room_id: Some("!r:a".to_owned()),
        sender: "@u:a".to_owned(),
        event_type: "m.room.message".to_owned(),
        content: content(json!({ "body": "hello" })),
        prev_events: vec!["$p".into()],
        auth_events: vec!["$1".into(), "$2".into()],
        depth: 7,
        origin_server_ts: 1_000_000,
        event_id: version.event_id_in_event().then(|| "$own:a".to_owned()),
        ..EventBuilder::default()
    }
}

#[test]
fn built_events_pass_the_checks_on_receipt() {
    for version in &ALL {
        let built = message(version).build(version, &key()).unwrap();
        let received = parse_object(&built.canonical_json).unwrap();
        let verified = verify_event(version, &received, |server, key_id| {
            assert_eq!((server, key_id), ("a", "ed25519:k"));
            Some(key().public_key())
        });
        let good = Verified { content_hash: true, join_authorized: true };
        assert_eq!(verified, Ok(good));
        assert_eq!(Event::from_pdu(version, received).unwrap(), built.event);
    }
}

#[test]
fn fields_stand_as_the_room_version_has_them() {
    for version in &ALL {
        let event = message(version).build(version, &key()).unwrap().event;
        let json = event.json();
        assert_eq!(json.contains_key("event_id"), version.event_id_in_event());
        for absent in ["state_key", "unsigned", "redacts"] {
            assert!(!json.contains_key(absent));
        }
        assert_eq!(event.prev_events().collect::<Vec<_>>(), ["$p"]);
        assert_eq!(event.auth_events().collect::<Vec<_>>(), ["$1", "$2"]);
        if version.event_id_in_event() {
            assert_eq!(event.event_id(), "$own:a");
            assert_eq!(json["prev_events"], json!([["$p", { "sha256": "" }]]));
        } else {
            assert_eq!(json["prev_events"], json!(["$p"]));
        }
    }
}

#[test]
fn redacts_is_put_where_the_room_version_has_it() {
    for version in &ALL {
        let redaction = EventBuilder {
            event_type: "m.room.redaction".to_owned(),
            redacts: Some("$target".to_owned()),
            ..message(version)
        };
        let event = redaction.build(version, &key()).unwrap().event;
        assert_eq!(event.redacts(version), Some("$target"));
        assert_eq!(event.json().contains_key("redacts"), !version.redacts_in_content);
        assert_eq!(event.content().contains_key("redacts"), version.redacts_in_content);
    }
}

#[test]
fn create_events_name_the_room_or_are_named_by_it() {
    for version in &ALL {
        let room_id = (!version.room_id_is_create_event_id).then(|| "!r:a".to_owned());
        let create = EventBuilder {
            room_id,
            event_type: "m.room.create".to_owned(),
            state_key: Some(String::new()),
            prev_events: vec![],
            auth_events: vec![],
            ..message(version)
        };
        let event = create.build(version, &key()).unwrap().event;
        let hash = event.event_id().trim_start_matches('$');
        if version.room_id_is_create_event_id {
            assert_eq!(event.room_id(), Some(format!("!{hash}").as_str()));
            assert!(!event.json().contains_key("room_id"));
        } else {
            assert_eq!(event.room_id(), Some("!r:a"));
        }
    }
}

#[test]
fn unsigned_is_neither_hashed_nor_signed() {
    for version in &ALL {
        let plain = message(version).build(version, &key()).unwrap().event;
        let with_unsigned =
            EventBuilder { unsigned: Some(content(json!({ "transaction_id": "t" }))), ..message(version) };
        let event = with_unsigned.build(version, &key()).unwrap().event;
        assert_eq!(event.event_id(), plain.event_id());
        for field in ["hashes", "signatures"] {
            assert_eq!(event.json()[field], plain.json()[field]);
        }
        assert_eq!(event.json()["unsigned"]["transaction_id"], "t");
    }
}

#[test]
fn depth_stays_within_its_limit() {
    for version in &ALL {
        let deepest = EventBuilder { depth: i64::MAX, ..message(version) };
        let event = deepest.build(version, &key()).unwrap().event;
        let expected = if version.strict_canonical_json { MAX_INTEGER } else { i64::MAX };
        assert_eq!(event.depth(), expected);
    }
}

#[test]
fn malformed_events_are_not_built() {
    let fails = |version, builder: EventBuilder| {
        let BuildError::Format(error) = builder.build(version, &key()).unwrap_err();
        error
    };
    for version in &ALL {
        let sender = EventBuilder { sender: "u".to_owned(), ..message(version) };
        assert_eq!(fails(version, sender), FormatError::Malformed("sender"));
        let large =
            EventBuilder { content: content(json!({ "body": "x".repeat(70_000) })), ..message(version) };
        assert!(matches!(fails(version, large), FormatError::TooLarge(_)));
        let state_key = EventBuilder { state_key: Some("x".repeat(256)), ..message(version) };
        assert_eq!(fails(version, state_key), FormatError::TooLong("state_key"));
        let many = EventBuilder { prev_events: vec![EventReference::from("$p"); 21], ..message(version) };
        assert_eq!(fails(version, many), FormatError::TooMany("prev_events"));
        let float = EventBuilder { content: content(json!({ "x": 1.5 })), ..message(version) };
        if version.strict_canonical_json {
            assert!(matches!(fails(version, float), FormatError::NotCanonical(_)));
        } else {
            float.build(version, &key()).unwrap();
        }
        if version.event_id_in_event() {
            let without_id = EventBuilder { event_id: None, ..message(version) };
            assert_eq!(fails(version, without_id), FormatError::Missing("event_id"));
        }
    }
}

#[test]
fn integers_beyond_64_bits_are_refused_in_all_versions() {
    for version in &ALL {
        let content = content(json!({ "a": [{ "n": u64::MAX }] }));
        let built = EventBuilder { content, ..message(version) }.build(version, &key());
        assert!(matches!(built, Err(BuildError::Format(FormatError::NotCanonical(_)))), "{}", version.id);
    }
}
