//! The auth events of an event, by their keys.

use super::{EventNid, Graph};

/// The event with this type and state key that authorizes an event: an auth event, or the create event that the room's
/// id stands for. An event that was not rejected has one at most.
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

/// Has these events and their auth events read together.
pub(super) fn read_ahead<G: Graph>(graph: &G, nids: &[EventNid]) {
    graph.read_ahead(nids);
    let mut auth_events: Vec<_> = nids.iter().flat_map(|nid| graph.auth_events(*nid)).collect();
    auth_events.sort_unstable();
    auth_events.dedup();
    graph.read_ahead(&auth_events);
}
