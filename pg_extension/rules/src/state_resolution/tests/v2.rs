use serde_json::json;

use super::{ALICE, BOB, CAROL, DAVE, Room, since_v2};

/// A moderator changes the power levels while the admin bans the moderator: the ban is first, even with a
/// later timestamp, as the admin has more power.
#[test]
fn a_ban_undoes_power_levels_of_the_banned() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        let levels = json!({ "users": { ALICE: 100, BOB: 50 }, "invite": 50 });
        let levels = if version.privileged_creators { json!({ "users": { BOB: 50 } }) } else { levels };
        room.set(&mut two, "$bobs_levels", BOB, "m.room.power_levels", "", levels);
        room.set_member(&mut one, "$ban", ALICE, BOB, "ban");
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.member(BOB), Some("$ban"));
        assert_eq!(resolved.levels(), Some("$levels"));
        let last_checks = &resolved.checks()[resolved.checks().len() - 2..];
        assert_eq!(last_checks[0], ("$ban", None));
        assert!(matches!(last_checks[1], ("$bobs_levels", Some(_))), "{last_checks:?}");
    }
}

/// A user joins by the old join rules after they were changed, and claims not to have seen the change.
#[test]
fn closed_join_rules_are_not_evaded() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.set_member(&mut two, "$dave", DAVE, DAVE, "join");
        room.set_join_rule(&mut one, "$closed", ALICE, "invite");
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.join_rule(), Some("$closed"));
        assert_eq!(resolved.member(DAVE), None);
    }
}

/// A moderator sets the topic while being demoted.
#[test]
fn the_topic_of_a_demoted_moderator_is_reset() {
    for version in since_v2() {
        let (mut room, mut state) = Room::new(version);
        room.set_topic(&mut state, "$old_topic", ALICE);
        let (mut one, mut two) = (state.clone(), state);
        room.set_topic(&mut two, "$bobs_topic", BOB);
        room.set_levels(&mut one, "$demotion", ALICE, 0);
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.levels(), Some("$demotion"));
        assert_eq!(resolved.topic(), Some("$old_topic"));
        let others = room.names(resolved.resolution.other_events.clone());
        assert_eq!(others, ["$bob", "$old_topic", "$bobs_topic"]);
    }
}

/// The demotion is undone in one branch: the topic that was set after that stays.
#[test]
fn a_topic_by_restored_power_stays() {
    for version in since_v2() {
        let (mut room, mut state) = Room::new(version);
        room.set_topic(&mut state, "$old_topic", ALICE);
        let (mut one, mut two) = (state.clone(), state);
        room.set_levels(&mut one, "$demotion", ALICE, 0);
        room.set_levels(&mut one, "$restored", ALICE, 50);
        room.set_topic(&mut one, "$topic", BOB);
        room.set_topic(&mut two, "$other_topic", ALICE);
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.levels(), Some("$restored"));
        assert_eq!(resolved.topic(), Some("$topic"));
    }
}

/// Two moderators remove the same user: the earlier removal is applied first.
#[test]
fn power_events_of_equal_power_go_by_time() {
    for version in since_v2() {
        let (mut room, mut state) = Room::new(version);
        let mut users = json!({ BOB: 50, CAROL: 50, DAVE: 0 });
        if !version.privileged_creators {
            users[ALICE] = 100.into();
        }
        room.set(&mut state, "$both", ALICE, "m.room.power_levels", "", json!({ "users": users }));
        // Her first join was sent with less power.
        room.set_member(&mut state, "$carols_profile", CAROL, CAROL, "join");
        room.set_member(&mut state, "$dave", DAVE, DAVE, "join");
        let (mut one, mut two) = (state.clone(), state);
        room.clock = 100;
        room.set_member(&mut one, "$later", BOB, DAVE, "leave");
        room.clock = 50;
        room.set_member(&mut two, "$earlier", CAROL, DAVE, "ban");
        let resolved = room.resolve(&[one.clone(), two]);
        let order = room.names(resolved.resolution.power_events.clone());
        assert_eq!(order[order.len() - 2..], ["$earlier", "$later"]);
        // A kick after a ban is an unban, for which the level suffices.
        assert_eq!(resolved.member(DAVE), Some("$later"));
    }
}

/// An event of the auth difference with an unconflicted state key takes part, but is not in the result.
#[test]
fn unconflicted_state_is_the_result() {
    for version in since_v2() {
        let (mut room, mut state) = Room::new(version);
        let mut other = state.clone();
        room.set_member(&mut other, "$other_profile", CAROL, CAROL, "join");
        room.set_member(&mut state, "$profile", CAROL, CAROL, "join");
        let (mut one, two) = (state.clone(), state);
        let thing = room.set(&mut other, "$thing", CAROL, "org.example.thing", CAROL, json!({}));
        one.insert(("org.example.thing".to_owned(), CAROL.to_owned()), thing);
        let resolved = room.resolve(&[one, two]);
        assert!(resolved.checks().contains(&("$other_profile", None)));
        assert_eq!(resolved.member(CAROL), Some("$profile"));
        let key = ("m.room.member".to_owned(), CAROL.to_owned());
        assert!(!resolved.resolution.state.contains_key(&key));
    }
}

/// A state key that only some states have is conflicted: its event must be allowed to stay.
#[test]
fn what_only_some_states_have_is_checked() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.set_topic(&mut one, "$topic", BOB);
        assert_eq!(room.resolve(&[one.clone(), two.clone()]).topic(), Some("$topic"));
        room.set_member(&mut two, "$kick", ALICE, BOB, "leave");
        assert_eq!(room.resolve(&[one, two]).topic(), None);
    }
}

/// Three branches, of which two were joined before, resolve to the same state as all at once.
#[test]
fn forks_of_forks() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two, mut three) = (state.clone(), state.clone(), state);
        room.set_topic(&mut one, "$topic", BOB);
        room.set_member(&mut two, "$dave", DAVE, DAVE, "join");
        room.set_join_rule(&mut three, "$closed", ALICE, "invite");
        let merged = room.resolve(&[one.clone(), two.clone()]).state;
        let nested = room.resolve(&[merged, three.clone()]);
        assert_eq!(nested.state, room.resolve(&[one, two, three]).state);
        assert_eq!(nested.topic(), Some("$topic"));
        assert_eq!(nested.join_rule(), Some("$closed"));
        assert_eq!(nested.member(DAVE), None);
    }
}
