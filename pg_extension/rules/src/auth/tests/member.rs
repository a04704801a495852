//! The rule on `m.room.member`, without restricted joins and third-party invites.

use serde_json::json;

use super::{
    ADMIN, CREATOR, MODERATOR, OTHER, Room, USER, all, by_member_rules, create_content, versions, with,
};
use crate::{auth::check_join_authorized_signature, room_version::AuthRulesText, signature::Verified};

#[test]
fn member_without_target_or_membership_is_rejected() {
    for version in all() {
        let room = Room::new(version);
        let number = by_member_rules(version, ["5.1", "4.1", "4.1", "5.1"]);
        let join = json!({ "membership": "join" });
        room.rejects(&room.event(USER, "m.room.member", None, join.clone()), number);
        room.rejects(&room.event(USER, "m.room.member", Some(USER), json!({})), number);
        // The `state_key` must be a user id.
        for state_key in ["", "user", "@user", "@user:b c"] {
            let event = room.event(USER, "m.room.member", Some(state_key), join.clone());
            room.rejects(&event, number);
        }
    }
}

#[test]
fn unknown_membership_is_rejected() {
    for version in all() {
        let room = Room::new(version);
        let number = match version.auth_rules_text {
            AuthRulesText::V1 | AuthRulesText::V3 => "5.6",
            AuthRulesText::V6 => "4.6",
            AuthRulesText::V7 => "4.7",
            AuthRulesText::V8 | AuthRulesText::V10 | AuthRulesText::V11 => "4.8",
            AuthRulesText::V12 => "5.8",
        };
        for membership in [json!("other"), json!(""), json!(1), json!(null)] {
            let content = json!({ "membership": membership });
            room.rejects(&room.event(USER, "m.room.member", Some(USER), content), number);
        }
        if !version.knocking {
            room.rejects(&room.member_event(OTHER, OTHER, "knock"), number);
        }
    }
}

#[test]
fn creator_joins_right_after_create() {
    for version in all() {
        let mut room = Room::new(version);
        for event_type in ["m.room.join_rules", "m.room.power_levels"] {
            room.unset(event_type, "");
        }
        room.unset("m.room.member", CREATOR);
        let first = |user| {
            let event = room.member_event(user, user, "join");
            with(event, "prev_events", json!(["$m.room.create/:a"]))
        };
        room.allows(&first(CREATOR));
        let refused = by_member_rules(version, ["5.2.6", "4.2.6", "4.3.7", "5.3.7"]);
        room.rejects(&first(OTHER), refused);
        // Not after another event, and not if there are more previous events than the create event.
        room.rejects(&room.member_event(CREATOR, CREATOR, "join"), refused);
        let after_two = with(first(CREATOR), "prev_events", json!(["$m.room.create/:a", "$other:a"]));
        room.rejects(&after_two, refused);
    }
}

#[test]
fn creator_is_named_in_content_until_version_10() {
    for version in all() {
        let mut room = Room::new(version);
        let mut content = create_content(version);
        content["creator"] = OTHER.into();
        content["additional_creators"] = json!([USER]);
        room.set(CREATOR, "m.room.create", "", content);
        room.set_join_rule("invite");
        let first = |user| {
            let event = room.member_event(user, user, "join");
            with(event, "prev_events", json!(["$m.room.create/:a"]))
        };
        let refused = by_member_rules(version, ["5.2.6", "4.2.6", "4.3.7", "5.3.7"]);
        if version.creator_is_sender {
            room.rejects(&first(OTHER), refused);
        } else {
            room.allows(&first(OTHER));
        }
        // Additional creators join by the same rules as others.
        room.unset("m.room.member", USER);
        let event = room.member_event(USER, USER, "join");
        room.rejects(&with(event, "prev_events", json!(["$m.room.create/:a"])), refused);
    }
}

#[test]
fn joining_in_the_name_of_another_user_is_rejected() {
    for version in all() {
        let room = Room::new(version);
        room.rejects(
            &room.member_event(ADMIN, OTHER, "join"),
            by_member_rules(version, ["5.2.2", "4.2.2", "4.3.2", "5.3.2"]),
        );
    }
}

#[test]
fn joining_while_banned_is_rejected() {
    for version in all() {
        let mut room = Room::new(version);
        room.set_member(OTHER, "ban");
        room.rejects(
            &room.member_event(OTHER, OTHER, "join"),
            by_member_rules(version, ["5.2.3", "4.2.3", "4.3.3", "5.3.3"]),
        );
    }
}

#[test]
fn joining_by_join_rule() {
    for version in all() {
        let mut room = Room::new(version);
        let refused = by_member_rules(version, ["5.2.6", "4.2.6", "4.3.7", "5.3.7"]);
        for membership in ["invite", "join", "leave", "knock"] {
            let invited = matches!(membership, "invite" | "join");
            room.set_member(OTHER, membership);
            for (join_rule, allowed) in [
                ("public", true),
                ("invite", invited),
                ("knock", invited && version.knocking),
                ("restricted", invited && version.restricted_joins),
                ("knock_restricted", invited && version.knock_restricted_joins),
                ("private", false),
                ("other", false),
                ("", false),
            ] {
                room.set_join_rule(join_rule);
                let event = room.member_event(OTHER, OTHER, "join");
                let restricted = join_rule == "restricted" && version.restricted_joins
                    || join_rule == "knock_restricted" && version.knock_restricted_joins;
                if allowed {
                    room.allows(&event);
                } else if restricted {
                    room.rejects(&event, by_member_rules(version, ["", "", "4.3.5.2", "5.3.5.2"]));
                } else {
                    room.rejects(&event, refused);
                }
            }
        }
    }
}

#[test]
fn without_join_rules_an_invite_is_needed() {
    // The specification does not say which join rule applies without `m.room.join_rules`. Other servers take
    // `invite`; ruma rejects even invited users.
    for version in all() {
        let mut room = Room::new(version);
        room.unset("m.room.join_rules", "");
        room.rejects(
            &room.member_event(OTHER, OTHER, "join"),
            by_member_rules(version, ["5.2.6", "4.2.6", "4.3.7", "5.3.7"]),
        );
        room.set_member(OTHER, "invite");
        room.allows(&room.member_event(OTHER, OTHER, "join"));
    }
}

#[test]
fn inviting() {
    for version in all() {
        let mut room = Room::new(version);
        let invite = |room: &Room, sender, target| room.member_event(sender, target, "invite");
        room.allows(&invite(&room, USER, OTHER));
        room.rejects(
            &invite(&room, OTHER, "@new:c"),
            by_member_rules(version, ["5.3.2", "4.3.2", "4.4.2", "5.4.2"]),
        );
        let target = by_member_rules(version, ["5.3.3", "4.3.3", "4.4.3", "5.4.3"]);
        room.rejects(&invite(&room, ADMIN, USER), target);
        room.set_member(OTHER, "ban");
        room.rejects(&invite(&room, ADMIN, OTHER), target);
        for membership in ["leave", "knock", "invite"] {
            room.set_member(OTHER, membership);
            room.allows(&invite(&room, USER, OTHER));
        }
        room.set_levels(json!({ "invite": 50, "users": { MODERATOR: 50 } }));
        room.allows(&invite(&room, MODERATOR, OTHER));
        room.rejects(
            &invite(&room, USER, OTHER),
            by_member_rules(version, ["5.3.5", "4.3.5", "4.4.5", "5.4.5"]),
        );
    }
}

#[test]
fn leaving() {
    for version in all() {
        let mut room = Room::new(version);
        for (membership, allowed) in [
            ("join", true),
            ("invite", true),
            ("knock", version.knocking),
            ("leave", false),
            ("ban", false),
            ("other", false),
        ] {
            room.set_member(OTHER, membership);
            let event = room.member_event(OTHER, OTHER, "leave");
            if allowed {
                room.allows(&event);
            } else {
                room.rejects(&event, by_member_rules(version, ["5.4.1", "4.4.1", "4.5.1", "5.5.1"]));
            }
        }
    }
}

#[test]
fn kicking() {
    for version in all() {
        let mut room = Room::new(version);
        let kick = |room: &Room, sender, target| room.member_event(sender, target, "leave");
        let otherwise = by_member_rules(version, ["5.4.5", "4.4.5", "4.5.5", "5.5.5"]);
        room.rejects(
            &kick(&room, OTHER, USER),
            by_member_rules(version, ["5.4.2", "4.4.2", "4.5.2", "5.5.2"]),
        );
        room.allows(&kick(&room, MODERATOR, USER));
        room.rejects(&kick(&room, USER, OTHER), otherwise);
        // The target must have less power.
        room.rejects(&kick(&room, MODERATOR, ADMIN), otherwise);
        room.set_member("@equal:a", "join");
        room.set_levels(json!({ "users": { MODERATOR: 50, "@equal:a": 50 } }));
        room.rejects(&kick(&room, MODERATOR, "@equal:a"), otherwise);
        room.set_levels(json!({ "kick": 51, "users": { MODERATOR: 50 } }));
        room.rejects(&kick(&room, MODERATOR, USER), otherwise);
        // Since version 12 no user can kick a creator, not even another creator.
        room.set_levels(json!({ "users": { ADMIN: 100 } }));
        if version.privileged_creators {
            room.rejects(&kick(&room, ADMIN, CREATOR), otherwise);
        } else {
            room.allows(&kick(&room, ADMIN, CREATOR));
        }
    }
}

#[test]
fn lifting_bans() {
    for version in all() {
        let mut room = Room::new(version);
        room.set_member(OTHER, "ban");
        let unban = |room: &Room, sender| room.member_event(sender, OTHER, "leave");
        room.allows(&unban(&room, MODERATOR));
        // The ban level and the kick level are needed.
        room.set_levels(json!({ "ban": 51, "kick": 50, "users": { MODERATOR: 50 } }));
        room.rejects(
            &unban(&room, MODERATOR),
            by_member_rules(version, ["5.4.3", "4.4.3", "4.5.3", "5.5.3"]),
        );
        room.set_levels(json!({ "ban": 50, "kick": 51, "users": { MODERATOR: 50 } }));
        room.rejects(
            &unban(&room, MODERATOR),
            by_member_rules(version, ["5.4.5", "4.4.5", "4.5.5", "5.5.5"]),
        );
    }
}

#[test]
fn banning() {
    for version in all() {
        let mut room = Room::new(version);
        let ban = |room: &Room, sender, target| room.member_event(sender, target, "ban");
        let otherwise = by_member_rules(version, ["5.5.3", "4.5.3", "4.6.3", "5.6.3"]);
        room.rejects(
            &ban(&room, OTHER, USER),
            by_member_rules(version, ["5.5.1", "4.5.1", "4.6.1", "5.6.1"]),
        );
        for target in [USER, OTHER, "@never:seen"] {
            room.allows(&ban(&room, MODERATOR, target));
        }
        room.rejects(&ban(&room, USER, OTHER), otherwise);
        room.rejects(&ban(&room, MODERATOR, ADMIN), otherwise);
        room.rejects(&ban(&room, MODERATOR, MODERATOR), otherwise);
        room.set_levels(json!({ "ban": 51, "users": { MODERATOR: 50 } }));
        room.rejects(&ban(&room, MODERATOR, USER), otherwise);
        if version.privileged_creators {
            room.allows(&ban(&room, CREATOR, MODERATOR));
            room.rejects(&ban(&room, CREATOR, CREATOR), otherwise);
        }
    }
}

#[test]
fn knocking_since_version_7() {
    for version in versions(7, 12) {
        let mut room = Room::new(version);
        let number = |clause: &str| {
            let rule = match version.auth_rules_text {
                AuthRulesText::V7 => "4.6",
                AuthRulesText::V12 => "5.7",
                _ => "4.7",
            };
            format!("{rule}{clause}")
        };
        let knock = |room: &Room, sender, target| room.member_event(sender, target, "knock");
        for (join_rule, allowed) in [
            ("knock", true),
            ("knock_restricted", version.knock_restricted_joins),
            ("public", false),
            ("invite", false),
            ("restricted", false),
            ("other", false),
        ] {
            room.set_join_rule(join_rule);
            if allowed {
                room.allows(&knock(&room, OTHER, OTHER));
            } else {
                room.rejects(&knock(&room, OTHER, OTHER), &number(".1"));
            }
        }
        room.set_join_rule("knock");
        room.rejects(&knock(&room, ADMIN, OTHER), &number(".2"));
        for (membership, allowed) in
            [("leave", true), ("knock", true), ("join", false), ("invite", false), ("ban", false)]
        {
            room.set_member(OTHER, membership);
            if allowed {
                room.allows(&knock(&room, OTHER, OTHER));
            } else {
                room.rejects(&knock(&room, OTHER, OTHER), &number(".4"));
            }
        }
    }
}

#[test]
fn joins_not_signed_by_the_authorizers_server_are_rejected() {
    for version in versions(8, 12) {
        let verified = |join_authorized| Verified { content_hash: true, join_authorized };
        let result = check_join_authorized_signature(version, verified(false));
        let number = by_member_rules(version, ["", "", "4.2.1", "5.2.1"]);
        assert_eq!(result.unwrap_err().rule, number);
        assert_eq!(check_join_authorized_signature(version, verified(true)), Ok(()));
    }
}
