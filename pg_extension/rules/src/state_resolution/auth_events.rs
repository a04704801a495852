//! Finds auth events of an event by their state keys.

use super::{EventNid, Graph};

/// The auth event of an event with this `type` and `state_key`, or the create event whose id is the room's
/// id. An event that was not rejected has at most one such auth event.
pub(super) fn auth_event<G: Graph>(
    graph: &G,
    nid: EventNid,
    event_type: &str,
    state_key: &str,
) -> Option<EventNid> {
    if event_type == "m.room.create"
        && let Some(create) = graph.implied_create()
    {
        return Some(create);
    }
    graph.auth_events(nid).into_iter().find(|auth_event| graph.event(*auth_event).is(event_type, state_key))
}

/// The `m.room.power_levels` event among the auth events.
pub(super) fn power_levels_event<G: Graph>(graph: &G, nid: EventNid) -> Option<EventNid> {
    auth_event(graph, nid, "m.room.power_levels", "")
}

/// Announces these events, and then their auth events, to the graph.
pub(super) fn read_ahead<G: Graph>(graph: &G, nids: &[EventNid]) {
    graph.read_ahead(nids);
    let mut auth_events: Vec<_> = nids.iter().flat_map(|nid| graph.auth_events(*nid)).collect();
    auth_events.sort_unstable();
    auth_events.dedup();
    graph.read_ahead(&auth_events);
}
