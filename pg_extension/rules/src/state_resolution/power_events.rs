//! Which events of the full conflicted set are resolved first.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{EventNid, Graph};
use crate::Event;

/// Whether the event might remove someone's ability to do something in the room.
///
/// Spec: "A *power event* is a state event with type `m.room.power_levels` or `m.room.join_rules`, or a state event
/// with type `m.room.member` where the `membership` is `leave` or `ban` and the `sender` does not match the
/// `state_key`." The first two have an empty state key: with another they mean nothing. The create event counts as a
/// power event, as it does on other servers; it comes before all others, where they look for it anyway.
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

/// Power events and the events that they are based on, each with those of its auth events that are among them too.
pub(super) type PowerEvents = BTreeMap<EventNid, Vec<EventNid>>;

/// Step 1 of the algorithm, but for the sorting.
///
/// Spec: "Select the set *X* of all *power events* that appear in the *full conflicted set*. For each such power event
/// *P*, enlarge *X* by adding the events in the auth chain of *P* which also belong to the full conflicted set."
///
/// The auth chain is followed only as long as it stays in the full conflicted set, which is what other servers do, and
/// what [MSC4297](https://github.com/matrix-org/matrix-spec-proposals/pull/4297) describes and mends: since room
/// version 12 the conflicted state subgraph leaves no gaps where it could go on.
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
