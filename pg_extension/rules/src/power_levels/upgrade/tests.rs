use serde_json::{Value, json};

use super::{after_tombstone, of_replacement, tombstone_for_creators};
use crate::{Event, Map, RoomVersion, room_version};

fn version(id: &str) -> &'static RoomVersion {
    room_version(id).unwrap_or_else(|| panic!("version {id}"))
}

fn map(json: Value) -> Map {
    json.as_object().cloned().unwrap_or_default()
}

fn create(content: Value) -> Event {
    Event::new("$create", map(json!({ "type": "m.room.create", "sender": "@old:x", "content": content })))
}

/// An upgrade by `@new:x` with the additional creator `@more:x`.
fn replaced(levels: Value, from: &str, to: &str) -> Value {
    let create = create(json!({ "creator": "@old:x", "additional_creators": ["@also:x"] }));
    let additional = ["@more:x".to_owned()];
    let levels = of_replacement(map(levels), version(from), &create, version(to), "@new:x", &additional);
    levels.map_or(Value::Null, Value::Object)
}

#[test]
fn levels_are_kept() {
    let levels = json!({ "users": { "@old:x": 100 }, "ban": 50 });
    assert_eq!(replaced(levels.clone(), "10", "11"), levels);
    assert_eq!(replaced(json!({ "ban": 50 }), "10", "11"), json!({ "ban": 50, "users": {} }));
}

#[test]
fn levels_that_are_no_integers_become_some() {
    let levels = json!({ "ban": " 50 ", "kick": "x", "redact": 1.5, "users": { "@a:x": "7", "@b:x": 8 } });
    let integers = json!({ "ban": 50, "kick": 0, "redact": 0, "users": { "@a:x": 7, "@b:x": 8 } });
    assert_eq!(replaced(levels.clone(), "9", "10"), integers);
    assert_eq!(replaced(levels.clone(), "8", "9"), levels);
}

#[test]
fn creators_who_are_above_all_have_no_level() {
    let levels = json!({ "users": { "@new:x": 100, "@more:x": 90, "@old:x": 100 }, "state_default": 50 });
    assert_eq!(
        replaced(levels, "11", "12"),
        json!({
            "users": { "@old:x": 100 }, "state_default": 50, "events": { "m.room.tombstone": 150 },
        })
    );
}

#[test]
fn creators_who_were_above_all_get_the_highest_level() {
    let levels = json!({ "users": { "@a:x": 120 } });
    assert_eq!(
        replaced(levels, "12", "11"),
        json!({ "users": { "@a:x": 120, "@old:x": 120, "@also:x": 120, "@new:x": 120 } })
    );
    let none = replaced(json!({}), "12", "11");
    assert_eq!(none["users"]["@new:x"], 100);
}

#[test]
fn only_creators_have_the_level_of_a_tombstone() {
    assert_eq!(tombstone_for_creators(&map(json!({}))), 150);
    assert_eq!(tombstone_for_creators(&map(json!({ "state_default": 200 }))), 201);
}

#[test]
fn nobody_talks_in_a_room_that_was_replaced() {
    let raised = |levels: Value| Value::Object(after_tombstone(map(levels)));
    assert_eq!(raised(json!({})), json!({ "events_default": 50, "invite": 50 }));
    assert_eq!(
        raised(json!({ "users_default": 60, "invite": 100 })),
        json!({ "users_default": 60, "events_default": 61, "invite": 100 })
    );
}
