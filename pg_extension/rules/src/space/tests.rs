use std::cmp::Ordering::{Equal, Greater, Less};

use serde_json::{Value, json};

use super::compare_children;
use crate::Event;

fn child(room_id: &str, origin_server_ts: u64, order: Value) -> Event {
    let json = json!({
        "type": "m.space.child",
        "state_key": room_id,
        "origin_server_ts": origin_server_ts,
        "content": { "via": ["a"], "order": order },
    });
    Event::new("$e", json.as_object().cloned().unwrap_or_default())
}

#[test]
fn orders_then_times_then_rooms() {
    let cases = [
        (child("!b", 9, json!("a")), child("!a", 1, json!("b")), Less),
        (child("!b", 9, json!("Z")), child("!a", 1, json!("a")), Less),
        (child("!b", 9, json!("~")), child("!a", 1, Value::Null), Less),
        (child("!b", 1, json!("a")), child("!a", 2, json!("a")), Less),
        (child("!b", 1, json!("a")), child("!a", 1, json!("a")), Greater),
        (child("!b", 1, Value::Null), child("!a", 2, Value::Null), Less),
        (child("!a", 1, Value::Null), child("!a", 1, Value::Null), Equal),
    ];
    for (one, other, expected) in cases {
        assert_eq!(compare_children(&one, &other), expected, "{one:?} {other:?}");
        assert_eq!(compare_children(&other, &one), expected.reverse(), "{one:?} {other:?}");
    }
}

#[test]
fn invalid_orders_are_none() {
    for order in
        [json!(""), json!("é"), json!("\t"), json!("\u{7f}"), json!("a".repeat(51)), json!(1), json!([])]
    {
        let invalid = child("!a", 1, order);
        assert_eq!(compare_children(&invalid, &child("!b", 2, json!("~"))), Greater, "{invalid:?}");
        assert_eq!(compare_children(&invalid, &child("!b", 2, Value::Null)), Less, "{invalid:?}");
    }
    assert_eq!(compare_children(&child("!a", 2, json!("~".repeat(50))), &child("!b", 1, Value::Null)), Less);
}
