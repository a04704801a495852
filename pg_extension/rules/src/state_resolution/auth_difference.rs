//! The auth difference, found by walking from the conflicted events only.
//!
//! Spec: "If *Ci* is the full auth chain of *Si*, then the auth difference is ∪ *Ci* − ∩ *Ci*."
//!
//! Full auth chains are as large as the room, so none is built. An event is in the difference if some of the
//! chains contain it and others do not. Where two chains differ, the difference begins at a conflicted event.
//! So only events in the auth chains of conflicted events can be in the difference: these are the candidates.
//!
//! The walk from the conflicted events down to a candidate does not find all chains that contain it, since
//! unconflicted events may cite it too, far from any conflict:
//!
//! ```text
//!   S1: a member's new profile   S2: the same member's join     S1, S2: an event of another member
//!                 └───────────┬────────────┘                                    │
//!                  power levels of last year ───────────────────────────────────┘
//! ```
//!
//! So for each candidate a second walk goes up, to the state events that cite it, until it has found all sets
//! or has visited all events above. The newest events come first: they are likely to be in all of the sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter, vec,
};

use super::{EventNid, Graph, StateSets};

/// How many candidates are read together. Guessed: most conflicts have fewer.
const READ_AHEAD: usize = 64;

/// The events that are in the auth chains of some of the state sets but not of all.
///
/// `sets` is the number of state sets, `conflicted` the conflicted events. The auth chain of a set contains
/// an event of the set only if another of its events leads to it.
pub fn auth_difference<G: Graph>(
    graph: &G,
    sets: usize,
    conflicted: &BTreeSet<EventNid>,
) -> BTreeSet<EventNid> {
    graph.read_ahead(&conflicted.iter().copied().collect::<Vec<_>>());

    // Each candidate with the state sets from whose conflicted events the walk has reached it.
    let mut candidates: BTreeMap<EventNid, StateSets> = BTreeMap::new();
    for nid in conflicted {
        let sets_with = graph.sets_with(*nid);
        for auth_event in graph.auth_events(*nid) {
            candidates.entry(auth_event).or_default().extend(&sets_with);
        }
    }

    let mut search = Search { graph, sets, found: BTreeMap::new() };
    let mut difference = BTreeSet::new();
    let mut read = BTreeSet::new();
    // The newest candidate first: all events that cite it have been visited, so its sets are complete.
    while let Some((nid, from_above)) = candidates.pop_last() {
        let chains = search.chains_with(nid, from_above);
        // If all chains contain it, they contain its auth chain too.
        if chains.count() < sets {
            if !read.contains(&nid) {
                let next: Vec<_> =
                    iter::once(nid).chain(candidates.keys().rev().copied().take(READ_AHEAD)).collect();
                graph.read_ahead(&next);
                read.extend(next);
            }
            for auth_event in graph.auth_events(nid) {
                candidates.entry(auth_event).or_default().extend(&chains);
            }
            difference.insert(nid);
        }
    }
    difference
}

/// The walk up, which remembers its results.
struct Search<'a, G> {
    graph: &'a G,
    /// The number of state sets.
    sets: usize,
    /// For each event that was visited: the state sets that contain it or have it in their auth chains.
    found: BTreeMap<EventNid, StateSets>,
}

/// An event that is being visited.
struct Visit {
    nid: EventNid,
    /// The state sets found so far.
    sets: StateSets,
    /// The rest of the last batch of events that cite it, newest first.
    citing: vec::IntoIter<EventNid>,
    /// The last citing event that was visited.
    before: Option<EventNid>,
}

impl Visit {
    fn new(nid: EventNid, sets: StateSets) -> Self {
        Self { nid, sets, citing: Vec::new().into_iter(), before: None }
    }
}

impl<G: Graph> Search<'_, G> {
    /// The state sets that have the event in their auth chains. `known` are those that the caller knows of.
    fn chains_with(&mut self, nid: EventNid, known: StateSets) -> StateSets {
        // Not recursive: auth chains can be too long for the call stack.
        let mut above = Vec::new();
        let mut visit = Visit::new(nid, known);
        loop {
            if let Some(citing) = self.next(&mut visit) {
                match self.found.get(&citing) {
                    Some(sets) => visit.sets.extend(sets),
                    None => {
                        let sets = self.graph.sets_with(citing);
                        above.push(std::mem::replace(&mut visit, Visit::new(citing, sets)));
                    }
                }
                continue;
            }
            let Some(below) = above.pop() else { break };
            let done = std::mem::replace(&mut visit, below);
            visit.sets.extend(&done.sets);
            self.found.insert(done.nid, done.sets);
        }
        let mut sets = visit.sets.clone();
        if !self.is_full(&sets) {
            sets.extend(&self.graph.sets_with(nid));
        }
        self.found.insert(nid, sets);
        visit.sets
    }

    /// The next event that cites the visited one; `None` if there is none, or if all sets were found.
    fn next(&self, visit: &mut Visit) -> Option<EventNid> {
        if self.is_full(&visit.sets) {
            return None;
        }
        if visit.citing.as_slice().is_empty() {
            visit.citing = self.graph.citing(visit.nid, visit.before).into_iter();
        }
        visit.before = Some(visit.citing.next()?);
        visit.before
    }

    fn is_full(&self, sets: &StateSets) -> bool {
        sets.count() >= self.sets
    }
}
