//! The rule on `m.room.power_levels`.

use serde_json::{Value, json};

use super::{ADMIN, CREATOR, MODERATOR, Room, USER, all, by_text, create_content, versions};
use crate::{RoomVersion, power_levels::LevelName};

/// Chooses the number of a clause: in versions 1 to 5, 6 to 9, 10 and 11, and 12.
fn number<'a>(version: &RoomVersion, numbers: [&'a str; 4]) -> &'a str {
    let index = match version.id {
        "1" | "2" | "3" | "4" | "5" => 0,
        "10" | "11" => 2,
        "12" => 3,
        _ => 1,
    };
    numbers[index]
}

/// A room where the moderator has level 50 and may change power levels.
fn room(version: &'static RoomVersion, mut levels: Value) -> Room {
    let mut room = Room::new(version);
    if levels.get("users").is_none() {
        levels["users"] = json!({ ADMIN: 100, MODERATOR: 50 });
    }
    levels["state_default"] = 50.into();
    room.set_levels(levels);
    room
}

/// The current content with a field changed, or removed if `null`.
fn changed(room: &Room, field: &str, value: Value) -> Value {
    let current = room.get("m.room.power_levels", "").unwrap();
    let mut content = current.content().clone();
    if value.is_null() {
        content.remove(field);
    } else {
        content.insert(field.to_owned(), value);
    }
    content.into()
}

#[track_caller]
fn allows(room: &Room, field: &str, value: Value) {
    room.allows(&room.levels_event(MODERATOR, changed(room, field, value)));
}

#[track_caller]
fn rejects(room: &Room, field: &str, value: Value, number: &str) {
    room.rejects(&room.levels_event(MODERATOR, changed(room, field, value)), number);
}

#[test]
fn the_level_to_change_levels_is_needed() {
    for version in all() {
        let room = room(version, json!({}));
        let content = changed(&room, "kick", 0.into());
        room.rejects(&room.levels_event(USER, content), by_text(version, ["8", "7", "8"]));
    }
}

#[test]
fn levels_must_be_integers_since_version_10() {
    for version in versions(10, 12) {
        let room = room(version, json!({}));
        for name in LevelName::ALL {
            for value in [json!("50"), json!(50.5), json!(true), json!([]), json!({})] {
                rejects(&room, name.as_str(), value, number(version, ["", "", "9.1", "10.1"]));
            }
        }
        let mut content = changed(&room, "ban", 50.into());
        content["ban"] = json!(null);
        room.rejects(&room.levels_event(MODERATOR, content), number(version, ["", "", "9.1", "10.1"]));
    }
}

#[test]
fn events_and_notifications_must_be_objects_of_integers_since_version_10() {
    for version in versions(10, 12) {
        let room = room(version, json!({}));
        for name in ["events", "notifications"] {
            for value in [json!([]), json!("x"), json!(1), json!({ "x": "1" }), json!({ "x": null })] {
                rejects(&room, name, value, number(version, ["", "", "9.2", "10.2"]));
            }
        }
    }
}

#[test]
fn users_must_be_an_object_from_user_ids_to_integers() {
    for version in all() {
        let room = room(version, json!({}));
        let malformed = number(version, ["10.1", "9.1", "9.3", "10.3"]);
        for users in [json!([]), json!("x"), json!({ "user": 0 }), json!({ "@user": 0 }), json!({ "": 0 })] {
            rejects(&room, "users", users, malformed);
        }
        for level in [json!("x"), json!("1.5"), json!(""), json!(null), json!(true), json!({})] {
            rejects(&room, "users", json!({ ADMIN: 100, MODERATOR: 50, USER: level }), malformed);
        }
        for level in [json!("5"), json!(" +05 ")] {
            let users = json!({ ADMIN: 100, MODERATOR: 50, USER: level });
            if version.integer_power_levels {
                rejects(&room, "users", users, malformed);
            } else {
                allows(&room, "users", users);
            }
        }
        let float = json!({ ADMIN: 100, MODERATOR: 50, USER: 5.7 });
        if version.strict_canonical_json {
            rejects(&room, "users", float, malformed);
        } else {
            allows(&room, "users", float);
        }
    }
}

#[test]
fn users_must_not_name_creators_since_version_12() {
    for version in all() {
        let mut room = room(version, json!({}));
        let mut content = create_content(version);
        content["additional_creators"] = json!([USER]);
        room.set(CREATOR, "m.room.create", "", content);
        for creator in [CREATOR, USER] {
            let users = json!({ ADMIN: 100, MODERATOR: 50, creator: 0 });
            if version.privileged_creators {
                rejects(&room, "users", users.clone(), "10.4");
                room.rejects(&room.levels_event(CREATOR, json!({ "users": users })), "10.4");
            } else {
                allows(&room, "users", users);
            }
        }
    }
}

#[test]
fn the_first_power_levels_are_free() {
    for version in all() {
        let mut room = Room::new(version);
        room.unset("m.room.power_levels", "");
        room.allows(
            &room.levels_event(
                CREATOR,
                json!({ "users": { USER: 1000 }, "events": { "x": 1000 }, "ban": 1000 }),
            ),
        );
        room.allows(&room.levels_event(CREATOR, json!({})));
        // Until version 9 the rules check `users` only. (ruma rejects any unreadable level.)
        let odd = room.levels_event(CREATOR, json!({ "ban": "x", "events": [], "notifications": 1 }));
        if version.integer_power_levels {
            room.rejects(&odd, number(version, ["", "", "9.1", "10.1"]));
        } else {
            room.allows(&odd);
        }
    }
}

#[test]
fn single_levels_change_within_the_senders_own() {
    for version in all() {
        for name in ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"] {
            let mut room = room(version, json!({ name: 50 }));
            let new_too_high = number(version, ["10.3.2", "9.3.2", "9.5.2", "10.6.2"]);
            let current_too_high = number(version, ["10.3.1", "9.3.1", "9.5.1", "10.6.1"]);
            allows(&room, name, 0.into());
            allows(&room, name, (-10).into());
            allows(&room, name, json!(null));
            rejects(&room, name, 51.into(), new_too_high);
            if name == "state_default" {
                continue;
            }
            room = self::room(version, json!({ name: 51 }));
            allows(&room, name, 51.into());
            rejects(&room, name, 50.into(), current_too_high);
            rejects(&room, name, json!(null), current_too_high);
        }
    }
}

#[test]
fn absent_levels_are_their_defaults() {
    for version in all() {
        let users = json!({ MODERATOR: 40 });
        let events = json!({ "m.room.power_levels": 0 });
        // Removing a low level raises it to the default, which is above the sender's own.
        let room = room(version, json!({ "users": users, "events": events, "ban": 10 }));
        rejects(&room, "ban", json!(null), number(version, ["10.3.2", "9.3.2", "9.5.2", "10.6.2"]));
        allows(&room, "ban", 40.into());
        // A value for an absent level changes it from the default.
        rejects(&room, "kick", 10.into(), number(version, ["10.3.1", "9.3.1", "9.5.1", "10.6.1"]));
        allows(&room, "invite", 10.into());
    }
}

#[test]
fn entries_of_events_change_within_the_senders_own() {
    for version in all() {
        let room = room(version, json!({ "events": { "low": 50, "high": 51 } }));
        let current_too_high = number(version, ["10.4.1", "9.4.1", "9.6.1", "10.7.1"]);
        let new_too_high = number(version, ["10.5.1", "9.5.1", "9.7.1", "10.8.1"]);
        allows(&room, "events", json!({ "low": 0, "high": 51, "new": 50 }));
        allows(&room, "events", json!({ "high": 51 }));
        rejects(&room, "events", json!({ "low": 50, "high": 50 }), current_too_high);
        rejects(&room, "events", json!({ "low": 50 }), current_too_high);
        rejects(&room, "events", json!(null), current_too_high);
        rejects(&room, "events", json!({ "low": 51, "high": 51 }), new_too_high);
        rejects(&room, "events", json!({ "low": 50, "high": 51, "new": 51 }), new_too_high);
    }
}

#[test]
fn entries_of_notifications_change_within_the_senders_own_since_version_6() {
    for version in all() {
        let room = room(version, json!({ "notifications": { "low": 50, "high": 51 } }));
        let lowered = json!({ "low": 50, "high": 50 });
        let raised = json!({ "low": 51, "high": 51 });
        allows(&room, "notifications", json!({ "low": 0, "high": 51, "new": 50 }));
        if version.limit_notifications_levels {
            rejects(&room, "notifications", lowered, number(version, ["", "9.4.1", "9.6.1", "10.7.1"]));
            rejects(&room, "notifications", raised, number(version, ["", "9.5.1", "9.7.1", "10.8.1"]));
        } else {
            allows(&room, "notifications", lowered);
            allows(&room, "notifications", raised);
        }
    }
}

#[test]
fn other_users_levels_change_if_less_than_the_senders_own() {
    for version in all() {
        let room = room(version, json!({ "users": { ADMIN: 100, MODERATOR: 50, "@equal:a": 50, USER: 49 } }));
        let current_too_high = number(version, ["10.6.1", "9.6.1", "9.8.1", "10.9.1"]);
        let new_too_high = number(version, ["10.7.1", "9.7.1", "9.9.1", "10.10.1"]);
        let users = |user: &str, level: i64| {
            let mut users = json!({ ADMIN: 100, MODERATOR: 50, "@equal:a": 50, USER: 49 });
            users[user] = level.into();
            users
        };
        allows(&room, "users", users(USER, 50));
        allows(&room, "users", users(USER, 0));
        allows(&room, "users", users("@new:a", 50));
        allows(&room, "users", json!({ ADMIN: 100, MODERATOR: 50, "@equal:a": 50 }));
        rejects(&room, "users", users(USER, 51), new_too_high);
        rejects(&room, "users", users("@new:a", 51), new_too_high);
        rejects(&room, "users", users("@equal:a", 49), current_too_high);
        rejects(&room, "users", users(ADMIN, 50), current_too_high);
        rejects(&room, "users", json!({ ADMIN: 100, MODERATOR: 50, USER: 49 }), current_too_high);
        // A user may lower the own level or give it to others, but not raise it.
        allows(&room, "users", users(MODERATOR, 0));
        allows(&room, "users", json!({ ADMIN: 100, "@equal:a": 50, USER: 49 }));
        rejects(&room, "users", users(MODERATOR, 51), new_too_high);
    }
}

#[test]
fn creators_change_anything_since_version_12() {
    for version in versions(12, 12) {
        let top = (1i64 << 53) - 1;
        let room = room(version, json!({ "users": { ADMIN: top }, "ban": top, "events": { "x": top } }));
        room.allows(&room.levels_event(CREATOR, json!({ "users": { USER: top }, "kick": top })));
    }
}

#[test]
fn equal_levels_of_other_forms_are_no_change() {
    for version in versions(1, 9) {
        let room = room(version, json!({ "ban": "100", "events": { "x": " +0100" } }));
        allows(&room, "ban", 100.into());
        allows(&room, "events", json!({ "x": 100 }));
    }
}

#[test]
fn levels_that_cannot_be_read_until_version_9() {
    for version in versions(1, 9) {
        // Unreadable levels may stay as long as no rule needs them.
        let mut room = room(version, json!({ "ban": 50, "events": { "odd": "x" } }));
        allows(&room, "kick", 0.into());
        room.allows(&room.message(USER));
        // Changes of them, and events that need them, are rejected.
        rejects(&room, "events", json!({}), number(version, ["10.4.1", "9.4.1", "", ""]));
        rejects(&room, "events", json!({ "odd": "y" }), number(version, ["10.4.1", "9.4.1", "", ""]));
        let odd = room.event(ADMIN, "odd", None, json!({}));
        room.rejects(&odd, by_text(version, ["8", "7", ""]));
        room.set_levels(json!({ "ban": "x", "users": { ADMIN: 100 } }));
        let number =
            number(version, ["5.5.3", if version.restricted_joins { "4.6.3" } else { "4.5.3" }, "", ""]);
        room.rejects(&room.member_event(ADMIN, USER, "ban"), number);
        room.allows(&room.member_event(ADMIN, USER, "leave"));
    }
}
