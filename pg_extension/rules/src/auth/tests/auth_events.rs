//! Rule 2 (3 since room version 12), and rule 2 of room version 12.

use serde_json::{Value, json};

use super::{ADMIN, CREATOR, MODERATOR, OTHER, Room, USER, all, versions, with};
use crate::{Event, auth_types_for_event};

/// A user's message with these events added to its `auth_events`.
fn message_with(room: &Room, added: &[&str]) -> Event {
    let message = room.message(USER);
    let mut auth_events: Vec<Value> = message.auth_events().map(Value::from).collect();
    auth_events.extend(added.iter().copied().map(Value::from));
    with(message, "auth_events", auth_events.into())
}

fn rule(room: &Room, clause: &str) -> String {
    let rule = if room.version.room_id_is_create_event_id { 3 } else { 2 };
    format!("{rule}{clause}")
}

#[test]
fn selected_auth_events_are_allowed() {
    for version in all() {
        let room = Room::new(version);
        room.allows(&room.message(USER));
        // Only the create event is required.
        let create: &[&str] = if version.room_id_is_create_event_id { &[] } else { &["$m.room.create/:a"] };
        room.allows(&with(room.message(USER), "auth_events", json!(create)));
    }
}

#[test]
fn pairs_of_ids_and_hashes_are_references_too() {
    for version in versions(1, 2) {
        let room = Room::new(version);
        let reference = json!([["$m.room.create/:a", { "sha256": "x" }]]);
        room.allows(&with(room.message(USER), "auth_events", reference));
    }
}

#[test]
fn duplicate_auth_events_are_rejected() {
    for version in all() {
        let mut room = Room::new(version);
        let same = format!("$m.room.member/{USER}:a");
        room.rejects(&message_with(&room, &[&same]), &rule(&room, ".1"));
        // Another event with the same state key.
        let other = room.member_event(ADMIN, USER, "invite");
        room.others.push(Event::new("$other:a", other.into_json()));
        room.rejects(&message_with(&room, &["$other:a"]), &rule(&room, ".1"));
    }
}

#[test]
fn unselected_auth_events_are_rejected() {
    for version in all() {
        let mut room = Room::new(version);
        for unselected in ["$m.room.join_rules/:a", "$m.room.member/@admin:a:a"] {
            room.rejects(&message_with(&room, &[unselected]), &rule(&room, ".2"));
        }
        let message = room.message(USER);
        room.others.push(Event::new("$message:a", message.into_json()));
        room.rejects(&message_with(&room, &["$message:a"]), &rule(&room, ".2"));
    }
}

#[test]
fn create_among_auth_events_is_rejected_since_version_12() {
    for version in versions(12, 12) {
        let room = Room::new(version);
        room.rejects(&message_with(&room, &["$m.room.create/:a"]), "3.2");
    }
}

#[test]
fn rejected_auth_events_are_rejected() {
    for version in all() {
        let mut room = Room::new(version);
        let key = ("m.room.power_levels".to_owned(), String::new());
        let levels = room.state.remove(&key).unwrap().with_rejected(true);
        room.state.insert(key, levels);
        room.rejects(&room.message(USER), &rule(&room, ".3"));
    }
}

#[test]
fn missing_create_among_auth_events_is_rejected_until_version_11() {
    for version in versions(1, 11) {
        let room = Room::new(version);
        room.rejects(&with(room.message(USER), "auth_events", json!([])), "2.4");
    }
}

#[test]
fn auth_events_of_other_rooms_are_rejected() {
    for version in all() {
        let mut room = Room::new(version);
        room.unset("m.room.member", USER);
        let member = room.member_event(USER, USER, "join");
        let elsewhere = with(member, "room_id", "!elsewhere:a".into());
        room.others.push(Event::new("$other:a", elsewhere.into_json()));
        // Numbered 3.5 in the source of room version 12, where 3.4 is left out; pages show 3.4.
        let clause = if version.room_id_is_create_event_id { ".4" } else { ".5" };
        room.rejects(&message_with(&room, &["$other:a"]), &rule(&room, clause));
    }
}

#[test]
fn unknown_auth_events_are_rejected() {
    for version in all() {
        let room = Room::new(version);
        room.rejects(&message_with(&room, &["$unknown:a"]), &rule(&room, ""));
    }
}

#[test]
fn room_id_must_be_that_of_an_accepted_create_event_since_version_12() {
    for version in versions(12, 12) {
        let mut room = Room::new(version);
        for room_id in
            [json!("!other:a"), json!("!m.room.power_levels/:a"), json!("m.room.create/:a"), json!(null)]
        {
            room.rejects(&with(room.message(USER), "room_id", room_id), "2");
        }
        let key = ("m.room.create".to_owned(), String::new());
        let create = room.state.remove(&key).unwrap().with_rejected(true);
        room.state.insert(key, create);
        room.rejects(&room.message(USER), "2");
    }
}

/// The selection for an event of this content, as `type/state_key`.
fn selection(room: &Room, event_type: &str, state_key: Option<&str>, content: &Value) -> Vec<String> {
    let content = content.as_object().unwrap();
    let mut selection: Vec<_> = auth_types_for_event(room.version, event_type, USER, state_key, content)
        .into_iter()
        .map(|(event_type, state_key)| format!("{}/{state_key}", event_type.trim_start_matches("m.room.")))
        .filter(|key| key != "create/")
        .collect();
    selection.sort();
    selection
}

#[test]
fn selection_of_auth_events() {
    for version in all() {
        let room = Room::new(version);
        let select =
            |event_type: &str, state_key, content: Value| selection(&room, event_type, state_key, &content);
        let member = |content| select("m.room.member", Some(OTHER), content);
        let (sender, target) = ("member/@user:b", "member/@other:c");

        assert!(select("m.room.create", Some(""), json!({})).is_empty());
        assert_eq!(select("m.room.message", None, json!({})), [sender, "power_levels/"]);
        assert_eq!(
            select("m.room.message", None, json!({ "membership": "join" })),
            [sender, "power_levels/"]
        );
        for membership in ["leave", "ban", "other"] {
            assert_eq!(
                member(
                    json!({ "membership": membership, "third_party_invite": { "signed": { "token": "t" } } })
                ),
                [target, sender, "power_levels/"]
            );
        }
        for membership in ["join", "invite", "knock"] {
            assert_eq!(
                member(json!({ "membership": membership })),
                ["join_rules/", target, sender, "power_levels/"]
            );
        }
        assert_eq!(
            member(json!({ "membership": "invite", "third_party_invite": { "signed": { "token": "t" } } })),
            ["join_rules/", target, sender, "power_levels/", "third_party_invite/t"]
        );
        assert_eq!(
            member(json!({ "membership": "invite", "third_party_invite": { "signed": {} } })),
            ["join_rules/", target, sender, "power_levels/"]
        );
        let join = json!({ "membership": "join", "join_authorised_via_users_server": MODERATOR });
        let with_authorizer = ["join_rules/", "member/@moderator:b", target, sender, "power_levels/"];
        let without = ["join_rules/", target, sender, "power_levels/"];
        if version.restricted_joins {
            assert_eq!(member(join), with_authorizer);
        } else {
            assert_eq!(member(join), without);
        }
        let knock = json!({ "membership": "knock", "join_authorised_via_users_server": MODERATOR });
        assert_eq!(member(knock), without);
        // Each state key only once.
        assert_eq!(
            select("m.room.member", Some(USER), json!({ "membership": "leave" })),
            [sender, "power_levels/"]
        );
    }
}

#[test]
fn create_is_selected_until_version_11() {
    for version in all() {
        let types = auth_types_for_event(version, "m.room.message", CREATOR, None, &serde_json::Map::new());
        let create = ("m.room.create".to_owned(), String::new());
        assert_eq!(types.contains(&create), !version.room_id_is_create_event_id);
    }
}
