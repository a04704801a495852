use serde_json::{Value, json};

use crate::{Event, state_resolution::power_events::is_power_event};

fn event(event_type: &str, state_key: Option<&str>, content: Value) -> Event {
    let mut json = json!({ "type": event_type, "sender": "@a:a", "content": content });
    if let Some(state_key) = state_key {
        json["state_key"] = state_key.into();
    }
    let Value::Object(json) = json else { unreachable!() };
    Event::new("$e", json)
}

#[test]
fn power_events_are_levels_join_rules_kicks_and_bans() {
    for event_type in ["m.room.create", "m.room.power_levels", "m.room.join_rules"] {
        assert!(is_power_event(&event(event_type, Some(""), json!({}))));
        assert!(!is_power_event(&event(event_type, Some("x"), json!({}))));
        assert!(!is_power_event(&event(event_type, None, json!({}))));
    }
    for membership in ["leave", "ban"] {
        let content = json!({ "membership": membership });
        assert!(is_power_event(&event("m.room.member", Some("@b:b"), content.clone())));
        assert!(!is_power_event(&event("m.room.member", Some("@a:a"), content.clone())));
        assert!(!is_power_event(&event("m.room.member", None, content)));
    }
    for content in [json!({ "membership": "join" }), json!({ "membership": ["ban"] }), json!({})] {
        assert!(!is_power_event(&event("m.room.member", Some("@b:b"), content)));
    }
    assert!(!is_power_event(&event("m.room.topic", Some(""), json!({}))));
}
