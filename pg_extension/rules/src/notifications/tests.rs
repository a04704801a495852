use serde_json::{Value, json};

use super::{Notifications, may_mention_room, thread_root};
use crate::{Event, power_levels::PowerLevels, room_version};

fn event(event_type: &str, content: Value) -> Event {
    let Value::Object(json) = json!({ "type": event_type, "sender": "@a:x", "content": content }) else {
        unreachable!("an object")
    };
    Event::new("$e", json)
}

fn of(event_type: &str, content: Value, may: bool) -> (bool, Vec<String>) {
    let found = Notifications::of(&event(event_type, content), || may);
    (found.notifies, found.mentions.unwrap_or_default())
}

#[test]
fn messages_notify() {
    let cases = [
        ("m.room.message", json!({ "msgtype": "m.text" }), true),
        ("m.room.message", json!({ "msgtype": "m.notice" }), false),
        ("m.room.encrypted", json!({}), true),
        ("m.call.invite", json!({}), true),
        ("m.reaction", json!({}), false),
        ("m.room.message", json!({ "m.relates_to": { "rel_type": "m.replace", "event_id": "$x" } }), false),
        ("m.room.encrypted", json!({ "m.relates_to": { "rel_type": "m.replace", "event_id": "$x" } }), false),
        ("m.room.message", json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": "$x" } }), true),
    ];
    for (event_type, content, notifies) in cases {
        assert_eq!(of(event_type, content.clone(), false), (notifies, Vec::new()), "{event_type} {content}");
    }
}

#[test]
fn mentions_are_sorted_and_said_once() {
    let mentions = json!({ "m.mentions": { "user_ids": ["@c:x", "@b:x", "@c:x", "nobody", 1] } });
    assert_eq!(of("m.room.message", mentions.clone(), false).1, ["@b:x", "@c:x"]);
    assert_eq!(of("m.reaction", mentions.clone(), false).1, ["@b:x", "@c:x"]);
    let notice = json!({ "msgtype": "m.notice", "m.mentions": mentions["m.mentions"] });
    assert!(of("m.room.message", notice, true).1.is_empty());
    for malformed in [json!([]), json!({ "user_ids": "@b:x" }), json!({ "room": "true" })] {
        assert!(of("m.room.message", json!({ "m.mentions": malformed }), true).1.is_empty());
    }
}

#[test]
fn who_may_mentions_the_room() {
    let content = json!({ "m.mentions": { "room": true } });
    assert_eq!(of("m.room.message", content.clone(), true).1, ["@room"]);
    assert!(of("m.room.message", content, false).1.is_empty());
}

#[test]
fn of_state_only_tombstones_notify() {
    let state = |event_type: &str, state_key: &str| {
        let json = json!({
            "type": event_type, "state_key": state_key, "sender": "@a:x",
            "content": { "m.mentions": { "user_ids": ["@b:x"] } },
        });
        let Value::Object(json) = json else { unreachable!("an object") };
        Notifications::of(&Event::new("$e", json), || true)
    };
    let tombstone = state("m.room.tombstone", "");
    assert_eq!((tombstone.notifies, tombstone.mentions), (true, Some(vec!["@room".to_owned()])));
    assert_eq!(state("m.room.tombstone", "x"), Notifications::default());
    assert_eq!(state("m.room.message", ""), Notifications::default());
}

#[test]
fn threads_start_at_the_event_that_is_named() {
    let thread = json!({ "m.relates_to": { "rel_type": "m.thread", "event_id": "$root" } });
    assert_eq!(thread_root(&event("m.room.message", thread)), Some("$root"));
    let reply = json!({ "m.relates_to": { "rel_type": "m.reference", "event_id": "$root" } });
    assert_eq!(thread_root(&event("m.room.message", reply)), None);
    assert_eq!(thread_root(&event("m.room.message", json!({ "m.relates_to": "x" }))), None);
}

#[test]
fn the_room_is_mentioned_by_level() {
    let version = room_version("11").unwrap_or_else(|| panic!("a version"));
    let create = event("m.room.create", json!({}));
    let levels =
        event("m.room.power_levels", json!({ "users": { "@b:x": 60 }, "notifications": { "room": 60 } }));
    let levels = PowerLevels::new(version, &create, Some(&levels));
    assert!(may_mention_room(&levels, "@b:x"));
    assert!(!may_mention_room(&levels, "@c:x"));
}
