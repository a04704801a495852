use std::collections::BTreeSet;

use super::bare;
use crate::{
    room_version::ALL,
    state_resolution::{
        EventNid, conflicted_subgraph,
        memory::{MemoryGraph, MemoryRoom},
    },
};

/// The subgraph of a room whose events, numbered from 0, have these auth events.
fn subgraph(auth_events: &[&[EventNid]], conflicted: &[EventNid]) -> BTreeSet<EventNid> {
    let mut room = MemoryRoom::new(&ALL[11]);
    for auth_events in auth_events {
        let name = format!("${}", room.len());
        room.push_with(bare(name.as_str(), &name), auth_events.to_vec());
    }
    conflicted_subgraph(&MemoryGraph::new(&room, &[]), &conflicted.iter().copied().collect())
}

#[test]
fn has_all_paths_between_conflicted_events() {
    //   5 ── 4 ── 2 ── 1 ── 0
    //    └── 3 ───┘
    let room: [&[EventNid]; 6] = [&[], &[0], &[1], &[2], &[2], &[4, 3]];
    assert_eq!(subgraph(&room, &[1, 5]), BTreeSet::from([1, 2, 3, 4, 5]));
}

#[test]
fn has_no_side_branches() {
    // Events that only one end of a path could reach (3, 4, 5) are not between the conflicted events (1, 2).
    let room: [&[EventNid]; 6] = [&[], &[0], &[1, 3], &[0], &[2], &[1]];
    assert_eq!(subgraph(&room, &[1, 2]), BTreeSet::from([1, 2]));
}

#[test]
fn a_conflicted_event_alone_is_no_path() {
    let room: [&[EventNid]; 4] = [&[], &[0], &[0], &[1]];
    assert_eq!(subgraph(&room, &[1, 2]), BTreeSet::new());
    assert_eq!(subgraph(&room, &[1, 2, 3]), BTreeSet::from([1, 3]));
    assert_eq!(subgraph(&room, &[]), BTreeSet::new());
}

#[test]
fn paths_may_be_long() {
    let auth_events: Vec<[EventNid; 1]> = (0..100_000).map(|nid| [nid - 1]).collect();
    let auth_events: Vec<&[EventNid]> = auth_events.iter().map(|one| &one[..]).collect();
    assert_eq!(subgraph(&auth_events, &[0, 99_999]).len(), 100_000);
}
