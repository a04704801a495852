//! The auth difference, found where the conflict is.
//!
//! Spec: "If *Ci* is the full auth chain of *Si*, then the auth difference is ∪ *Ci* − ∩ *Ci*."
//!
//! Full auth chains are as large as the room, so none is made. An event is in the difference only if some, not all, of
//! the chains have it. A chain that has it and one that has not part at a conflicted event, so it is enough to look at
//! the auth events of conflicted events, at theirs and so on: the candidates.
//!
//! Walking down to them does not tell which chains have a candidate, since unconflicted events cite it too, far from
//! any conflict:
//!
//! ```text
//!   S1: a member's new profile   S2: the same member's join     S1, S2: an event of another member
//!                 └───────────┬────────────┘                                    │
//!                  power levels of last year ───────────────────────────────────┘
//! ```
//!
//! So each candidate looks up again, to the state events that cite it, until it has found all sets or has seen all that
//! cite it. The newest come first: they are likely to be in all of the sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    iter, vec,
};

use super::{EventNid, Graph, StateSets};

/// How many candidates are read together. A guess: most conflicts have fewer.
const READ_AHEAD: usize = 64;

/// The events that are in the auth chains of some of the state sets and not in those of others.
///
/// `sets` is the number of state sets, `conflicted` the conflicted events. The auth chain of a set does not have the
/// set's own events, unless another of them leads there.
pub fn auth_difference<G: Graph>(
    graph: &G,
    sets: usize,
    conflicted: &BTreeSet<EventNid>,
) -> BTreeSet<EventNid> {
    graph.read_ahead(&conflicted.iter().copied().collect::<Vec<_>>());

    // With the state sets from whose conflicted events the walk came down to them.
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
    // The newest first: what has come down to a candidate when it is its turn is all that ever will.
    while let Some((nid, from_above)) = candidates.pop_last() {
        let chains = search.chains_with(nid, from_above);
        // If all chains have it, then they have what is below it too.
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

/// The search upward.
struct Search<'a, G> {
    graph: &'a G,
    /// The number of state sets.
    sets: usize,
    /// For each event that was looked at: the state sets that have it, or have it in their auth chains.
    found: BTreeMap<EventNid, StateSets>,
}

/// An event that is being looked at.
struct Visit {
    nid: EventNid,
    sets: StateSets,
    /// Events that cite it and were not looked at yet: some of them, newest first.
    citing: vec::IntoIter<EventNid>,
    /// The last of them that was looked at.
    before: Option<EventNid>,
}

impl Visit {
    fn new(nid: EventNid, sets: StateSets) -> Self {
        Self { nid, sets, citing: Vec::new().into_iter(), before: None }
    }
}

impl<G: Graph> Search<'_, G> {
    /// The state sets that have the event in their auth chains, where these ones are known to.
    fn chains_with(&mut self, nid: EventNid, known: StateSets) -> StateSets {
        // Not recursive: auth chains can be as long as the room is old.
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

    /// The next event that cites this one, unless there is nothing left to find out.
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
