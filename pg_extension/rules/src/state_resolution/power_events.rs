//! Selects the events of the full conflicted set that are resolved first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{EventNid, Graph};
use crate::Event;

/// Whether this is a power event: one that might remove a user's ability to do something in the room.
///
/// Spec: "A *power event* is a state event with type `m.room.power_levels` or `m.room.join_rules`, or a state
/// event with type `m.room.member` where the `membership` is `leave` or `ban` and the `sender` does not match
/// the `state_key`." The first two have an empty `state_key`; with another one they have no effect. The
/// create event counts as a power event, as on other servers: it must come before all other events, which
/// need it.
pub(super) fn is_power_event(event: &Event) -> bool {
    match event.event_type() {
        "m.room.create" | "m.room.power_levels" | "m.room.join_rules" => event.state_key() == Some(""),
        "m.room.member" => {
            let membership = event.content().get("membership").and_then(Value::as_str);
            matches!(membership, Some("leave" | "ban"))
                && event.state_key().is_some_and(|state_key| state_key != event.sender())
        }
        _ => false,
    }
}

/// The set *X* of power events and events of their auth chains, each with those of its auth events that are
/// in *X*.
pub(super) type PowerEvents = BTreeMap<EventNid, Vec<EventNid>>;

/// Step 1 of the algorithm, without the sorting.
///
/// Spec: "Select the set *X* of all *power events* that appear in the *full conflicted set*. For each such
/// power event *P*, enlarge *X* by adding the events in the auth chain of *P* which also belong to the full
/// conflicted set."
///
/// The auth chain is followed only while it stays in the full conflicted set. Other servers do the same, and
/// [MSC4297](https://github.com/matrix-org/matrix-spec-proposals/pull/4297) describes and corrects it: since
/// room version 12 the conflicted state subgraph closes the gaps at which the walk would end too early.
pub(super) fn power_events<G: Graph>(graph: &G, full_conflicted_set: &BTreeSet<EventNid>) -> PowerEvents {
    let mut selected = PowerEvents::new();
    let mut next: Vec<EventNid> =
        full_conflicted_set.iter().copied().filter(|nid| is_power_event(&graph.event(*nid))).collect();
    while let Some(nid) = next.pop() {
        if selected.contains_key(&nid) {
            continue;
        }
        let mut auth_events = graph.auth_events(nid);
        auth_events.retain(|auth_event| full_conflicted_set.contains(auth_event));
        next.extend(&auth_events);
        selected.insert(nid, auth_events);
    }
    selected
}
