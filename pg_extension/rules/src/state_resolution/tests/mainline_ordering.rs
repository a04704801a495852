use serde_json::json;

use super::{ALICE, BOB, Counting, Room, since_v2};
use crate::{
    room_version::ALL,
    state_resolution::{
        mainline_ordering::Mainline,
        memory::{MemoryGraph, StateMap},
        resolve,
    },
};

/// An event with newer power levels in its auth chain comes later, and so wins, whatever its timestamp is.
#[test]
fn newer_power_levels_win_over_clocks() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state.clone());
        room.set_levels(&mut one, "$more", ALICE, 60);
        room.clock = 0;
        room.set_topic(&mut one, "$early", ALICE);
        room.clock = 1000;
        room.set_topic(&mut two, "$late", ALICE);
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.topic(), Some("$early"));
        assert_eq!(room.names(resolved.resolution.other_events), ["$late", "$early"]);
    }
}

#[test]
fn the_clock_decides_at_the_same_position_and_then_the_id() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state.clone());
        room.set_topic(&mut one, "$z", ALICE);
        room.set_topic(&mut two, "$a", ALICE);
        assert_eq!(room.resolve(&[one.clone(), two]).topic(), Some("$a"));
        let mut three = state.clone();
        room.clock = 0;
        room.set_topic(&mut three, "$early", ALICE);
        assert_eq!(room.resolve(&[one, three]).topic(), Some("$z"));

        let (mut one, mut two) = (state.clone(), state);
        room.clock = 50;
        room.set_topic(&mut one, "$B", ALICE);
        room.clock = 50;
        room.set_topic(&mut two, "$_", ALICE);
        // By bytes: upper case before the underscore before lower case.
        assert_eq!(room.resolve(&[two, one]).topic(), Some("$_"));
    }
}

/// An event without power levels among its auth events comes before all that have some of the mainline.
#[test]
fn no_power_levels_come_first() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let mut early: StateMap = state.clone();
        early.remove(&("m.room.power_levels".to_owned(), String::new()));
        let (mut one, mut two) = (state.clone(), state);
        room.clock = 1000;
        let bare = room.set(&mut early, "$bare", ALICE, "m.room.topic", "", json!({}));
        room.clock = 10;
        room.set_topic(&mut one, "$based", BOB);
        // Power levels that differ, so that there is a mainline in every room version.
        room.set_levels(&mut one, "$more", ALICE, 60);
        two.insert(("m.room.topic".to_owned(), String::new()), bare);
        let resolved = room.resolve(&[one, two]);
        assert_eq!(room.names(resolved.resolution.other_events.clone()), ["$bare", "$bob", "$based"]);
        assert_eq!(resolved.topic(), Some("$based"));
    }
}

/// Thousands of power levels events: a conflict among new events does not read the old ones, and one among
/// old events reads each once.
#[test]
fn long_mainlines_are_followed_once_and_no_further_than_needed() {
    let (mut room, mut state) = Room::new(&ALL[10]);
    let mut states = vec![];
    for number in 0..3000 {
        room.set_levels(&mut state, &format!("$levels{number}"), ALICE, number % 90);
        states.push(state.clone());
    }
    let newest = states.last().unwrap();
    let (mut one, mut two) = (newest.clone(), newest.clone());
    room.set_topic(&mut one, "$one", ALICE);
    room.set_topic(&mut two, "$two", ALICE);
    let sets = [one.clone(), two];
    let resolved = room.resolve(&sets);
    assert_eq!(room.names(resolved.resolution.mainline), ["$levels2999"]);
    let graph = Counting::new(MemoryGraph::new(&room.memory, &sets));
    resolve(room.version, &graph, 2, graph.graph.conflicted());
    assert!(graph.asked.get() < 200, "{}", graph.asked.get());

    // Each topic cites other power levels; those of the oldest topic are not in the mainline.
    let mut topics = vec![];
    for (number, state) in states.iter_mut().enumerate() {
        topics.push(room.set(state, &format!("$topic{number}"), ALICE, "m.room.topic", "", json!({})));
    }
    let sets = [one];
    let graph = Counting::new(MemoryGraph::new(&room.memory, &sets));
    let mut mainline = Mainline::new(&graph, Some(room.nid("$levels2999")));
    topics.reverse();
    let sorted = mainline.sort(topics.iter().copied());
    assert_eq!(room.names(sorted)[..2], ["$topic0", "$topic1"]);
    assert_eq!(mainline.events.len(), 3000);
    assert!(graph.asked.get() < 3000 * 20, "{}", graph.asked.get());
}

/// The old branch of power levels is not in the mainline.
#[test]
fn other_branches_are_followed_once_too() {
    let (mut room, state) = Room::new(&ALL[10]);
    let mut branch = state.clone();
    let mut topics = vec![];
    for number in 0..3000 {
        room.set_levels(&mut branch, &format!("$levels{number}"), ALICE, number % 90);
        let mut after = branch.clone();
        topics.push(room.set(&mut after, &format!("$topic{number}"), ALICE, "m.room.topic", "", json!({})));
    }
    let mut other = state;
    room.set_levels(&mut other, "$other", ALICE, 10);
    let graph = Counting::new(MemoryGraph::new(&room.memory, &[]));
    let mut mainline = Mainline::new(&graph, Some(room.nid("$other")));
    mainline.sort(topics.into_iter().rev());
    assert_eq!(room.names(mainline.events), ["$other", "$levels"]);
    assert!(graph.asked.get() < 3000 * 20, "{}", graph.asked.get());
}
