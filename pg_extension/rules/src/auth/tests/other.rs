//! Rules 3 to 9 (as numbered in room version 1) without membership, and 11.

use serde_json::json;

use super::{ADMIN, CREATOR, MODERATOR, OTHER, Room, USER, all, by_text, create_content, versions, with};
use crate::check_state_dependent;

#[test]
fn other_servers_are_rejected_where_the_room_is_not_federated() {
    for version in all() {
        let mut room = Room::new(version);
        let mut content = create_content(version);
        content["m.federate"] = false.into();
        room.set(CREATOR, "m.room.create", "", content.clone());
        room.allows(&room.message(ADMIN));
        room.rejects(&room.message(USER), by_text(version, ["3", "3", "4"]));
        room.rejects(&room.member_event(OTHER, OTHER, "join"), by_text(version, ["3", "3", "4"]));
        // Only `false` is `false`.
        for federate in [json!(true), json!("false"), json!(0), json!(null)] {
            content["m.federate"] = federate;
            room.set(CREATOR, "m.room.create", "", content.clone());
            room.allows(&room.message(USER));
        }
    }
}

#[test]
fn nothing_is_allowed_without_create_event() {
    for version in all() {
        let room = Room::new(version);
        let result = check_state_dependent(version, &room.message(USER), |event_type, state_key| {
            room.get(event_type, state_key).filter(|_| event_type != "m.room.create")
        });
        assert_eq!(result.unwrap_err().rule, by_text(version, ["3", "3", "4"]));
    }
}

#[test]
fn aliases_are_for_the_senders_server_until_version_5() {
    for version in versions(1, 5) {
        let room = Room::new(version);
        let aliases = |state_key| room.event(OTHER, "m.room.aliases", state_key, json!({}));
        // Neither membership nor power levels matter.
        room.allows(&aliases(Some("c")));
        room.rejects(&aliases(None), "4.1");
        room.rejects(&aliases(Some("b")), "4.2");
        room.rejects(&aliases(Some("")), "4.2");
    }
}

#[test]
fn aliases_are_like_any_state_since_version_6() {
    for version in versions(6, 12) {
        let room = Room::new(version);
        let aliases = |sender, state_key| room.event(sender, "m.room.aliases", state_key, json!({}));
        room.rejects(&aliases(OTHER, Some("c")), by_text(version, ["", "5", "6"]));
        room.rejects(&aliases(USER, Some("b")), by_text(version, ["", "7", "8"]));
        room.allows(&aliases(MODERATOR, Some("a")));
        room.allows(&aliases(USER, None));
    }
}

#[test]
fn senders_must_be_in_the_room() {
    for version in all() {
        let mut room = Room::new(version);
        let number = by_text(version, ["6", "5", "6"]);
        room.allows(&room.message(USER));
        room.rejects(&room.message(OTHER), number);
        for membership in ["invite", "leave", "ban", "knock", "other"] {
            room.set_member(OTHER, membership);
            room.rejects(&room.message(OTHER), number);
        }
    }
}

#[test]
fn third_party_invites_need_the_invite_level() {
    for version in all() {
        let mut room = Room::new(version);
        let number = by_text(version, ["7.1", "6.1", "7.1"]);
        let invite =
            |room: &Room, sender| room.event(sender, "m.room.third_party_invite", Some("token"), json!({}));
        // The default is 0, and `state_default` does not matter.
        room.allows(&invite(&room, USER));
        room.set_levels(json!({ "invite": 50, "users": { MODERATOR: 50 } }));
        room.allows(&invite(&room, MODERATOR));
        room.rejects(&invite(&room, USER), number);
        room.rejects(&invite(&room, OTHER), by_text(version, ["6", "5", "6"]));
    }
}

#[test]
fn types_of_events_need_their_level() {
    for version in all() {
        let mut room = Room::new(version);
        let number = by_text(version, ["8", "7", "8"]);
        // The defaults: 0 for messages, 50 for state.
        room.allows(&room.message(USER));
        room.allows(&room.state_event(MODERATOR, "m.room.name"));
        room.rejects(&room.state_event(USER, "m.room.name"), number);
        room.set_levels(json!({
            "events_default": 10,
            "state_default": 20,
            "events": { "m.room.name": 0, "m.room.message": 51 },
            "users_default": 15,
            "users": { MODERATOR: 50 },
        }));
        room.allows(&room.state_event(USER, "m.room.name"));
        room.rejects(&room.state_event(USER, "m.room.topic"), number);
        room.rejects(&room.message(MODERATOR), number);
        room.allows(&room.event(USER, "m.reaction", None, json!({})));
    }
}

#[test]
fn without_power_levels_the_creator_has_100_and_others_0() {
    for version in all() {
        let mut room = Room::new(version);
        room.unset("m.room.power_levels", "");
        let number = by_text(version, ["8", "7", "8"]);
        room.allows(&room.state_event(CREATOR, "m.room.name"));
        room.rejects(&room.state_event(ADMIN, "m.room.name"), number);
        room.allows(&room.message(USER));
    }
}

#[test]
fn creators_are_above_power_levels_since_version_12() {
    for version in all() {
        let mut room = Room::new(version);
        let mut content = create_content(version);
        content["additional_creators"] = json!([USER]);
        room.set(CREATOR, "m.room.create", "", content);
        room.set_levels(json!({ "events": { "m.room.name": (1i64 << 53) - 1 } }));
        for sender in [CREATOR, USER] {
            let event = room.state_event(sender, "m.room.name");
            if version.privileged_creators {
                room.allows(&event);
            } else {
                room.rejects(&event, by_text(version, ["8", "7", "8"]));
            }
        }
    }
}

#[test]
fn state_keys_of_other_users_are_rejected() {
    for version in all() {
        let room = Room::new(version);
        let event = |sender, state_key| room.event(sender, "org.example", Some(state_key), json!({}));
        let number = by_text(version, ["9", "8", "9"]);
        room.allows(&event(ADMIN, ADMIN));
        room.allows(&event(ADMIN, "key"));
        for state_key in [USER, "@", "@admin:a.b", "@admin"] {
            room.rejects(&event(ADMIN, state_key), number);
        }
    }
}

#[test]
fn redactions_need_the_level_or_the_same_server_until_version_2() {
    for version in versions(1, 2) {
        let mut room = Room::new(version);
        room.set_levels(json!({ "redact": 30, "users": { MODERATOR: 30, USER: 29 } }));
        let redaction = |sender, redacts: &str| {
            let event = room.event(sender, "m.room.redaction", None, json!({}));
            with(event, "redacts", redacts.into())
        };
        room.allows(&redaction(MODERATOR, "$x:c"));
        room.rejects(&redaction(USER, "$x:c"), "11.3");
        room.rejects(&redaction(USER, "$x"), "11.3");
        // The redaction's own id is of server `a`.
        room.allows(&redaction(USER, "$x:a"));
        let without_target = room.event(USER, "m.room.redaction", None, json!({}));
        room.rejects(&without_target, "11.3");
    }
}

#[test]
fn redactions_are_like_any_event_since_version_3() {
    for version in versions(3, 12) {
        let mut room = Room::new(version);
        room.set_levels(json!({ "redact": 100 }));
        let event = room.event(USER, "m.room.redaction", None, json!({ "redacts": "$x:c" }));
        room.allows(&with(event.clone(), "redacts", "$x:c".into()));
        room.set_levels(json!({ "events": { "m.room.redaction": 1 } }));
        room.rejects(&event, by_text(version, ["8", "7", "8"]));
    }
}

#[test]
fn anything_else_is_allowed() {
    for version in all() {
        let room = Room::new(version);
        room.allows(&room.event(USER, "", None, json!({})));
        room.allows(&room.event(ADMIN, "org.example.ü", Some("ö"), json!({ "m.room.member": 1 })));
    }
}
