//! Joins by the join rules `restricted` and `knock_restricted`, since room versions 8 and 10.

use serde_json::json;

use super::{MODERATOR, OTHER, Room, USER, by_member_rules, create_content, versions};
use crate::Event;

fn join(room: &Room, authorizer: &str) -> Event {
    let content = json!({ "membership": "join", "join_authorised_via_users_server": authorizer });
    room.event(OTHER, "m.room.member", Some(OTHER), content)
}

/// Rooms with each of these join rules that the version knows.
fn rooms() -> impl Iterator<Item = Room> {
    versions(8, 12).flat_map(|version| {
        let known = |join_rule: &&str| *join_rule == "restricted" || version.knock_restricted_joins;
        ["restricted", "knock_restricted"].into_iter().filter(known).map(move |join_rule| {
            let mut room = Room::new(version);
            room.set_join_rule(join_rule);
            room.set_levels(json!({ "invite": 50, "users": { MODERATOR: 50 } }));
            room
        })
    })
}

fn number(room: &Room) -> &'static str {
    by_member_rules(room.version, ["", "", "4.3.5.2", "5.3.5.2"])
}

#[test]
fn authorized_by_a_member_who_may_invite() {
    for mut room in rooms() {
        room.allows(&join(&room, MODERATOR));
        room.set_member(OTHER, "leave");
        room.allows(&join(&room, MODERATOR));
        room.set_member(OTHER, "knock");
        room.allows(&join(&room, MODERATOR));
    }
}

#[test]
fn invited_users_need_no_authorizer() {
    for mut room in rooms() {
        for membership in ["invite", "join"] {
            room.set_member(OTHER, membership);
            room.allows(&room.member_event(OTHER, OTHER, "join"));
            room.allows(&join(&room, "@unknown:a"));
        }
    }
}

#[test]
fn no_authorizer_is_rejected() {
    for room in rooms() {
        room.rejects(&room.member_event(OTHER, OTHER, "join"), number(&room));
        let content = json!({ "membership": "join", "join_authorised_via_users_server": null });
        let event = room.event(OTHER, "m.room.member", Some(OTHER), content);
        room.rejects(&event, number(&room));
    }
}

#[test]
fn authorizer_without_power_is_rejected() {
    for room in rooms() {
        room.rejects(&join(&room, USER), number(&room));
    }
}

#[test]
fn authorizer_outside_of_the_room_is_rejected() {
    for mut room in rooms() {
        room.rejects(&join(&room, "@unknown:a"), number(&room));
        room.rejects(&join(&room, OTHER), number(&room));
        for membership in ["leave", "ban", "invite", "knock"] {
            room.set_member(MODERATOR, membership);
            room.rejects(&join(&room, MODERATOR), number(&room));
        }
    }
}

#[test]
fn creators_authorize_since_version_12() {
    for mut room in rooms() {
        let mut content = create_content(room.version);
        content["additional_creators"] = json!([USER]);
        room.set(super::CREATOR, "m.room.create", "", content);
        if room.version.privileged_creators {
            room.allows(&join(&room, USER));
        } else {
            room.rejects(&join(&room, USER), number(&room));
        }
    }
}

#[test]
fn banned_users_are_rejected() {
    for mut room in rooms() {
        room.set_member(OTHER, "ban");
        room.rejects(&join(&room, MODERATOR), by_member_rules(room.version, ["", "", "4.3.3", "5.3.3"]));
    }
}
