#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{content_hash, content_hash_matches, event_id};
use crate::{Map, room_version::ALL};

fn event() -> Map {
    let event = json!({
        "type": "m.room.message",
        "event_id": "$own:a",
        "sender": "@a:a",
        "content": { "body": "x" },
        "hashes": { "sha256": "x" },
        "signatures": { "a": {} },
        "unsigned": { "age": 1 },
    });
    event.as_object().unwrap().clone()
}

fn with(key: &str, value: Value) -> Map {
    let mut event = event();
    event.insert(key.to_owned(), value);
    event
}

#[test]
fn content_hash_covers_all_but_hashes_signatures_and_unsigned() {
    let hash = content_hash(&event());
    for key in ["hashes", "signatures", "unsigned"] {
        assert_eq!(content_hash(&with(key, json!({ "y": 1 }))), hash);
    }
    for key in ["content", "sender", "event_id", "other"] {
        assert_ne!(content_hash(&with(key, json!({ "y": 1 }))), hash);
    }
}

#[test]
fn content_hash_is_compared_as_bytes() {
    let hash = content_hash(&event());
    assert_eq!(hash.len(), 43);
    assert!(content_hash_matches(&with("hashes", json!({ "sha256": hash, "other": "x" }))));
    assert!(content_hash_matches(&with("hashes", json!({ "sha256": format!("{hash}=") }))));
    for hashes in
        [json!({ "sha256": "x" }), json!({ "sha256": 1 }), json!({}), json!(1), json!({ "sha256": "" })]
    {
        assert!(!content_hash_matches(&with("hashes", hashes)));
    }
}

#[test]
fn event_id_covers_what_redaction_keeps() {
    for version in &ALL[2..] {
        let id = event_id(version, &event());
        for key in ["signatures", "unsigned", "other", "content"] {
            assert_eq!(event_id(version, &with(key, json!({ "y": 1 }))), id);
        }
        for key in ["hashes", "sender"] {
            assert_ne!(event_id(version, &with(key, json!({ "y": 1 }))), id);
        }
    }
}

#[test]
fn event_id_is_in_the_event_until_version_2() {
    for version in &ALL[..2] {
        assert_eq!(event_id(version, &event()).as_deref(), Some("$own:a"));
        assert_eq!(event_id(version, &with("event_id", json!(1))), None);
    }
}
