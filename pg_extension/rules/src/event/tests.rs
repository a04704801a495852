#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::Event;
use crate::{Map, room_version::ALL};

fn event(json: Value) -> Event {
    Event::new("$id", json.as_object().unwrap().clone())
}

#[test]
fn fields_are_read() {
    let event = event(json!({
        "type": "m.room.member", "state_key": "@u:a", "sender": "@s:a", "room_id": "!r:a",
        "content": { "membership": "join" }, "auth_events": ["$1", "$2"], "prev_events": ["$3"],
        "depth": 7, "origin_server_ts": 8,
    }));
    assert_eq!(event.event_id(), "$id");
    assert_eq!(event.event_type(), "m.room.member");
    assert_eq!(event.state_key(), Some("@u:a"));
    assert!(event.is_state() && event.is("m.room.member", "@u:a") && !event.is("m.room.member", ""));
    assert_eq!(event.sender(), "@s:a");
    assert_eq!(event.room_id(), Some("!r:a"));
    assert_eq!(event.content()["membership"], "join");
    assert_eq!(event.auth_events().collect::<Vec<_>>(), ["$1", "$2"]);
    assert_eq!(event.prev_events().collect::<Vec<_>>(), ["$3"]);
    assert_eq!((event.depth(), event.origin_server_ts()), (7, 8));
    assert!(!event.rejected());
    let rejected = event.with_rejected(true);
    assert!(rejected.rejected());
    assert_eq!(rejected.into_json()["depth"], 7);
}

#[test]
fn malformed_fields_read_as_missing() {
    for malformed in [json!(null), json!([[]]), json!({}), json!(1.5)] {
        let event = event(json!({
            "type": malformed, "state_key": malformed, "sender": malformed, "room_id": malformed,
            "content": 1, "auth_events": malformed, "prev_events": malformed, "depth": malformed,
            "origin_server_ts": malformed, "redacts": malformed,
        }));
        assert_eq!((event.event_type(), event.sender()), ("", ""));
        assert_eq!((event.state_key(), event.room_id()), (None, None));
        assert!(event.content().is_empty() && !event.is_state());
        assert_eq!(event.auth_events().chain(event.prev_events()).count(), 0);
        assert_eq!((event.depth(), event.origin_server_ts()), (0, 0));
        assert_eq!(event.redacts(&ALL[0]), None);
    }
    let empty = Event::new("", Map::new());
    assert_eq!(empty.room_id(), None);
}

#[test]
fn references_may_be_pairs() {
    let pair = json!([["$1:a", { "sha256": "x" }], ["$2:a", {}]]);
    let event = event(json!({ "auth_events": pair, "prev_events": pair }));
    assert_eq!(event.auth_events().collect::<Vec<_>>(), ["$1:a", "$2:a"]);
    assert_eq!(event.prev_events().collect::<Vec<_>>(), ["$1:a", "$2:a"]);
}

#[test]
fn the_room_id_of_a_create_event_without_one_is_its_own() {
    let create = json!({ "type": "m.room.create" });
    assert_eq!(event(create.clone()).room_id(), Some("!id"));
    let with_room_id = json!({ "type": "m.room.create", "room_id": "!r:a" });
    assert_eq!(event(with_room_id).room_id(), Some("!r:a"));
    assert_eq!(event(json!({ "type": "m.room.name" })).room_id(), None);
    let odd_id = Event::new("id", create.as_object().unwrap().clone());
    assert_eq!(odd_id.room_id(), None);
}

#[test]
fn redacts_stands_where_the_room_version_has_it() {
    let redaction =
        event(json!({ "type": "m.room.redaction", "redacts": "$top", "content": { "redacts": "$in" } }));
    let message =
        event(json!({ "type": "m.room.message", "redacts": "$top", "content": { "redacts": "$in" } }));
    for version in &ALL {
        let expected = if version.redacts_in_content { "$in" } else { "$top" };
        assert_eq!(redaction.redacts(version), Some(expected));
        assert_eq!(message.redacts(version), None);
    }
}
