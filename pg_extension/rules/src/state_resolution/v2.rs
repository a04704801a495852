//! State resolution since room version 2.

use std::collections::BTreeSet;

use super::{
    ConflictedState, EventNid, Graph, Resolution, auth_difference, auth_events::read_ahead,
    conflicted_subgraph, iterative_auth_checks::IterativeAuthChecks, mainline_ordering::Mainline,
    power_events::power_events, reverse_topological_power_ordering::reverse_topological_power_ordering,
};
use crate::RoomVersion;

/// The differences between the algorithm of room version 2 and that of room version 12.
#[derive(Clone, Copy, Debug)]
pub(super) struct Switches {
    /// The full conflicted set includes the conflicted state subgraph.
    conflicted_subgraph: bool,
    /// The first iterative auth checks start from the unconflicted state, instead of the empty one.
    from_unconflicted: bool,
}

/// Room versions 2 to 11.
pub(super) const V2: Switches = Switches { conflicted_subgraph: false, from_unconflicted: true };

/// Since room version 12.
pub(super) const V2_1: Switches = Switches { conflicted_subgraph: true, from_unconflicted: false };

/// Resolves by the steps of the section "Algorithm", which are numbered as there.
pub(super) fn resolve<G: Graph>(
    version: &RoomVersion,
    graph: &G,
    sets: usize,
    conflicted: &ConflictedState,
    switches: Switches,
) -> Resolution {
    if conflicted.is_empty() {
        return Resolution::default();
    }
    let conflicted: BTreeSet<EventNid> = conflicted.values().flatten().copied().collect();
    let auth_difference = auth_difference(graph, sets, &conflicted);
    let conflicted_subgraph =
        if switches.conflicted_subgraph { conflicted_subgraph(graph, &conflicted) } else { BTreeSet::new() };
    let mut full_conflicted_set = conflicted;
    full_conflicted_set.extend(&auth_difference);
    full_conflicted_set.extend(&conflicted_subgraph);
    read_ahead(graph, &full_conflicted_set.iter().copied().collect::<Vec<_>>());

    // 1. Select the power events and the events of their auth chains, and sort them.
    let selected = power_events(graph, &full_conflicted_set);
    let power_events = reverse_topological_power_ordering(version, graph, &selected);

    // 2. Apply the iterative auth checks to them, to get a partially resolved state.
    let mut checks = IterativeAuthChecks::new(version, graph, switches.from_unconflicted);
    checks.apply(&power_events);

    // 3. Sort the remaining events by the power levels of that state.
    let mut mainline = Mainline::new(graph, checks.get("m.room.power_levels", ""));
    let remaining = full_conflicted_set.into_iter().filter(|nid| !selected.contains_key(nid));
    let other_events = mainline.sort(remaining);

    // 4. Apply the iterative auth checks to them.
    checks.apply(&other_events);

    // 5. Entries of the unconflicted state replace those of the result.
    let IterativeAuthChecks { mut state, checks, .. } = checks;
    state.retain(|(event_type, state_key), _| graph.unconflicted(event_type, state_key).is_none());

    Resolution {
        state,
        auth_difference,
        conflicted_subgraph,
        power_events,
        mainline: mainline.events,
        other_events,
        checks,
    }
}
