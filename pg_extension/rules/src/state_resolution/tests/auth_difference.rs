use std::collections::BTreeSet;

use super::{Counting, bare};
use crate::{
    room_version::ALL,
    state_resolution::{
        EventNid, auth_difference,
        memory::{MemoryGraph, MemoryRoom, StateMap},
    },
};

/// Adds an event with a state key of its own.
fn push(room: &mut MemoryRoom, auth_events: &[EventNid]) -> EventNid {
    let name = format!("${}", room.len());
    room.push_with(bare(name.as_str(), &name), auth_events.to_vec())
}

fn state(room: &MemoryRoom, nids: &[EventNid]) -> StateMap {
    nids.iter().map(|nid| (room.key(*nid).unwrap(), *nid)).collect()
}

fn difference(graph: &MemoryGraph<'_>, sets: usize) -> BTreeSet<EventNid> {
    let conflicted = graph.conflicted().values().flatten().copied().collect();
    auth_difference(graph, sets, &conflicted)
}

#[test]
fn what_all_chains_have_is_not_in_it() {
    let mut room = MemoryRoom::new(&ALL[9]);
    let create = push(&mut room, &[]);
    let common = push(&mut room, &[create]);
    let one = push(&mut room, &[common]);
    let two = push(&mut room, &[common]);
    let (of_one, of_two) = (push(&mut room, &[one]), push(&mut room, &[two, create]));
    let sets = [state(&room, &[create, of_one]), state(&room, &[create, of_two])];
    assert_eq!(difference(&MemoryGraph::new(&room, &sets), 2), BTreeSet::from([one, two]));
}

#[test]
fn events_of_a_set_are_not_in_its_chain_by_themselves() {
    let mut room = MemoryRoom::new(&ALL[9]);
    let create = push(&mut room, &[]);
    let cited = push(&mut room, &[create]);
    let citing = push(&mut room, &[cited]);
    // Both sets have the event, but only in one of them another event cites it.
    let sets = [state(&room, &[create, cited, citing]), state(&room, &[create, cited])];
    assert_eq!(difference(&MemoryGraph::new(&room, &sets), 2), BTreeSet::from([cited]));
    // In the second set no event leads to it; in the third one an event does that the other sets do not have.
    let other = push(&mut room, &[cited]);
    let sets = [sets[0].clone(), sets[1].clone(), state(&room, &[create, cited, other])];
    assert_eq!(difference(&MemoryGraph::new(&room, &sets), 3), BTreeSet::from([cited]));
    let sets = [sets[0].clone(), sets[2].clone()];
    assert_eq!(difference(&MemoryGraph::new(&room, &sets), 2), BTreeSet::new());
}

#[test]
fn a_replaced_event_is_in_the_chain_of_what_cites_its_successors() {
    let mut room = MemoryRoom::new(&ALL[9]);
    let create = push(&mut room, &[]);
    let mut newest = create;
    for _ in 0..10 {
        newest = push(&mut room, &[newest]);
    }
    let conflicted = push(&mut room, &[create + 1]);
    let sets = [state(&room, &[create, newest]), state(&room, &[create, newest, conflicted])];
    // The sets contain only the newest event; both auth chains contain all others.
    assert_eq!(difference(&MemoryGraph::new(&room, &sets), 2), BTreeSet::new());
}

#[test]
fn chains_may_be_long() {
    const LENGTH: EventNid = 100_000;
    let mut room = MemoryRoom::new(&ALL[9]);
    let create = push(&mut room, &[]);
    let old = push(&mut room, &[create]);
    let mut newest = old;
    for _ in 0..LENGTH {
        newest = push(&mut room, &[newest]);
    }
    let conflicted = push(&mut room, &[old]);
    let with = [state(&room, &[create, newest, conflicted]), state(&room, &[create, newest])];
    assert_eq!(difference(&MemoryGraph::new(&room, &with), 2), BTreeSet::new());
    let without = [with[0].clone(), state(&room, &[create])];
    assert_eq!(difference(&MemoryGraph::new(&room, &without), 2).len() as EventNid, LENGTH + 1);
}

/// A room of many members, all of whom cite the same few events, and two of whom changed on one side.
#[test]
fn the_cost_follows_the_conflict() {
    let mut costs = Vec::new();
    for members in [100, 10_000] {
        let mut room = MemoryRoom::new(&ALL[9]);
        let create = push(&mut room, &[]);
        let levels = push(&mut room, &[create]);
        let rule = push(&mut room, &[create, levels]);
        let mut all = vec![create, levels, rule];
        all.extend((0..members).map(|_| push(&mut room, &[create, levels, rule])));
        let set = state(&room, &all);
        let mut changed = set.clone();
        for member in [3, 4] {
            let key = room.key(member).unwrap();
            changed.insert(
                key.clone(),
                room.push_with(bare("$new", &key.1), vec![create, levels, rule, member]),
            );
        }
        let sets = [set, changed];
        let graph = Counting::new(MemoryGraph::new(&room, &sets));
        let conflicted = graph.graph.conflicted().values().flatten().copied().collect();
        assert_eq!(auth_difference(&graph, 2, &conflicted), BTreeSet::from([3, 4]));
        costs.push(graph.asked.get());
    }
    assert_eq!(costs[0], costs[1]);
    assert!(costs[0] < 30, "{costs:?}");
}
