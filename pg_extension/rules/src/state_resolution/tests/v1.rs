use serde_json::json;

use super::{ALICE, BOB, CAROL, DAVE, Room};
use crate::{room_version::ALL, state_resolution::memory::StateMap};

fn room() -> (Room, StateMap) {
    Room::new(&ALL[0])
}

/// Different events are a conflict; an event in only one of the states is none.
#[test]
fn what_only_some_states_have_is_kept() {
    let (mut room, state) = room();
    let (mut one, mut two) = (state.clone(), state);
    // She is not allowed to.
    room.set_topic(&mut one, "$topic", CAROL);
    room.set_member(&mut two, "$kick", ALICE, BOB, "leave");
    let resolved = room.resolve(&[one, two]);
    assert_eq!(resolved.topic(), Some("$topic"));
    assert_eq!(resolved.member(BOB), Some("$kick"));
    assert_eq!(resolved.checks(), [("$kick", None)]);
}

#[test]
fn allowed_power_levels_follow_each_other_by_depth() {
    let (mut room, state) = room();
    let (mut one, mut two, mut three) = (state.clone(), state.clone(), state.clone());
    room.set_levels(&mut three, "$first", ALICE, 60);
    room.set_levels(&mut one, "$second", ALICE, 70);
    room.set_levels(&mut two, "$third", BOB, 50);
    let resolved = room.resolve(&[one, two, three, state]);
    assert_eq!(resolved.checks(), [("$first", None), ("$second", None), ("$third", None)]);
    assert_eq!(resolved.levels(), Some("$third"));
}

/// "If it would not be allowed, stop".
#[test]
fn power_levels_that_are_not_allowed_end_the_list() {
    let (mut room, state) = room();
    let (mut one, mut two) = (state.clone(), state.clone());
    room.set_levels(&mut one, "$carols", CAROL, 60);
    room.set_levels(&mut two, "$good", ALICE, 70);
    let resolved = room.resolve(&[one, two, state]);
    assert_eq!(resolved.checks(), [("$carols", Some("8"))]);
    assert_eq!(resolved.levels(), Some("$levels"));
}

/// SHA-1 of the ids: `$two:a` is 1b14…, `$three:a` 15a1…, `$one:a` 1306…. The first in the list is not
/// checked.
#[test]
fn equal_depths_go_by_descending_hash() {
    let (mut room, state) = room();
    let names = ["$one:a", "$two:a", "$three:a"];
    let mut sets = names.map(|name| {
        let mut state = state.clone();
        room.clock = 100;
        room.set_join_rule(&mut state, name, ALICE, "invite");
        state
    });
    let resolved = room.resolve(&sets);
    assert_eq!(resolved.checks(), [("$three:a", None), ("$one:a", None)]);
    assert_eq!(resolved.join_rule(), Some("$one:a"));

    // For other types, the list is checked from its end.
    for (state, name) in sets.iter_mut().zip(["$first:a", "$low:a", "$high:a"]) {
        room.clock = 200;
        state.insert(("m.room.join_rules".to_owned(), String::new()), 3);
        room.set_topic(state, name, ALICE);
    }
    let resolved = room.resolve(&sets);
    // 03d4… before 6cb7… and 8031….
    assert_eq!(resolved.checks(), [("$low:a", None)]);
    assert_eq!(resolved.topic(), Some("$low:a"));
}

#[test]
fn join_rules_are_checked_by_resolved_power_levels() {
    let (mut room, state) = room();
    let (mut one, mut two) = (state.clone(), state);
    room.set_levels(&mut one, "$demotion", ALICE, 0);
    room.set_join_rule(&mut two, "$closed", BOB, "invite");
    let resolved = room.resolve(&[one, two]);
    assert_eq!(resolved.checks(), [("$demotion", None), ("$closed", Some("8"))]);
    assert_eq!(resolved.join_rule(), Some("$rule"));
}

/// While one membership is resolved, the other conflicting memberships are not in the state.
#[test]
fn members_are_resolved_by_unconflicted_members() {
    let (mut room, state) = room();
    let (mut one, mut two) = (state.clone(), state);
    room.set_member(&mut one, "$ban_bob", ALICE, BOB, "ban");
    room.set_member(&mut two, "$ban_carol", BOB, CAROL, "ban");
    let resolved = room.resolve(&[one, two]);
    assert_eq!(resolved.checks(), [("$ban_bob", None), ("$ban_carol", Some("5.5.1"))]);
    assert_eq!(resolved.member(BOB), Some("$ban_bob"));
    assert_eq!(resolved.member(CAROL), Some("$carol"));
}

/// Each membership is checked with the one before it in the list.
#[test]
fn a_membership_follows_from_the_one_before() {
    let (mut room, mut state) = room();
    room.set_join_rule(&mut state, "$closed", ALICE, "invite");
    let (mut one, mut two, mut three) = (state.clone(), state.clone(), state);
    room.set_member(&mut three, "$invite", ALICE, DAVE, "invite");
    two.insert(("m.room.member".to_owned(), DAVE.to_owned()), room.nid("$invite"));
    room.set_member(&mut two, "$join", DAVE, DAVE, "join");
    one.insert(("m.room.member".to_owned(), DAVE.to_owned()), room.nid("$join"));
    room.set_member(&mut one, "$leave", DAVE, DAVE, "leave");
    let resolved = room.resolve(&[one, two, three]);
    assert_eq!(resolved.checks(), [("$join", None), ("$leave", None)]);
    assert_eq!(resolved.member(DAVE), Some("$leave"));
}

#[test]
fn other_events_are_taken_from_the_deepest_that_is_allowed() {
    let (mut room, mut state) = room();
    room.set_topic(&mut state, "$old", ALICE);
    let (mut one, mut two) = (state.clone(), state.clone());
    room.set_topic(&mut one, "$bobs", BOB);
    room.set_topic(&mut two, "$carols", CAROL);
    let resolved = room.resolve(&[one, two, state]);
    assert_eq!(resolved.checks(), [("$carols", Some("8")), ("$bobs", None)]);
    assert_eq!(resolved.topic(), Some("$bobs"));
}

/// The specification does not say what happens if no event is allowed.
#[test]
fn without_an_allowed_event_the_least_deep_is_taken() {
    let (mut room, state) = room();
    let (mut one, mut two) = (state.clone(), state);
    room.set(&mut one, "$one", CAROL, "m.room.topic", "", json!({}));
    room.set(&mut two, "$two", CAROL, "m.room.topic", "", json!({}));
    let resolved = room.resolve(&[one, two]);
    assert_eq!(resolved.checks(), [("$two", Some("8")), ("$one", Some("8"))]);
    assert_eq!(resolved.topic(), Some("$one"));
}
