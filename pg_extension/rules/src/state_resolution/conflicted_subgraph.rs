//! The conflicted state subgraph, since room version 12.
//!
//! Spec: "Starting from an event in the *conflicted state set* and following `auth_events` edges may lead to
//! another event in the conflicted state set. The union of all such paths between any pair of events in the
//! conflicted state set (including endpoints) forms a subgraph of the original `auth_event` graph".

use std::collections::{BTreeMap, BTreeSet};

use super::{EventNid, Graph};

/// The events on paths along auth events from one conflicted event to another, including both ends.
pub fn conflicted_subgraph<G: Graph>(graph: &G, conflicted: &BTreeSet<EventNid>) -> BTreeSet<EventNid> {
    let Some(oldest) = conflicted.first() else {
        return BTreeSet::new();
    };

    // The auth chains of the conflicted events, down to the oldest conflicted event: paths never lead to
    // newer events.
    let mut auth_events: BTreeMap<EventNid, Vec<EventNid>> = BTreeMap::new();
    let mut next: Vec<EventNid> = conflicted.iter().copied().collect();
    while !next.is_empty() {
        graph.read_ahead(&next);
        let mut found = BTreeSet::new();
        for nid in next {
            let mut below = graph.auth_events(nid);
            below.retain(|auth_event| auth_event >= oldest);
            found.extend(below.iter().copied());
            auth_events.insert(nid, below);
        }
        next = found.into_iter().filter(|nid| !auth_events.contains_key(nid)).collect();
    }

    // In ascending order, auth events come before the events that cite them.
    let mut subgraph = BTreeSet::new();
    for (nid, auth_events) in auth_events {
        let mut leads_to_conflicted = false;
        for auth_event in auth_events {
            if conflicted.contains(&auth_event) {
                // The end of a path.
                subgraph.insert(auth_event);
            }
            leads_to_conflicted |= subgraph.contains(&auth_event);
        }
        if leads_to_conflicted {
            subgraph.insert(nid);
        }
    }
    subgraph
}
