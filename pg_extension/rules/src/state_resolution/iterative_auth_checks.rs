//! The iterative auth checks algorithm.
//!
//! Spec: "takes as input an initial room state and a sorted list of state events, and constructs a new room
//! state by iterating through the event list and applying the state event to the room state if the state
//! event is allowed by the authorization rules. If the state event is not allowed by the authorization rules,
//! then the event is ignored. If a `(event_type, state_key)` key that is required for checking the
//! authorization rules is not present in the state, then the appropriate state event from the event's
//! `auth_events` is used if the auth event is not rejected."

use std::collections::BTreeMap;

use super::{Check, EventNid, Graph, StateKey, auth_events::auth_event};
use crate::{RoomVersion, check_state_dependent};

/// The state that the algorithm builds.
pub(super) struct IterativeAuthChecks<'a, G> {
    version: &'a RoomVersion,
    graph: &'a G,
    /// Whether the initial state is the unconflicted state, instead of the empty one.
    from_unconflicted: bool,
    /// The events that were applied to the initial state.
    pub(super) state: BTreeMap<StateKey, EventNid>,
    pub(super) checks: Vec<Check>,
}

impl<'a, G: Graph> IterativeAuthChecks<'a, G> {
    pub(super) fn new(version: &'a RoomVersion, graph: &'a G, from_unconflicted: bool) -> Self {
        Self { version, graph, from_unconflicted, state: BTreeMap::new(), checks: Vec::new() }
    }

    /// The event for a state key in the state built so far.
    ///
    /// It does not matter whether the event was rejected on receipt: it is in the state because it is
    /// allowed, or because all state sets have it. Spec: events that were rejected by the state at the event
    /// "are handled as usual by the algorithm, unless otherwise specified".
    pub(super) fn get(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        let applied = self.state.get(&(event_type.to_owned(), state_key.to_owned())).copied();
        if applied.is_none() && self.from_unconflicted {
            return self.graph.unconflicted(event_type, state_key);
        }
        applied
    }

    /// Checks sorted events and applies those that are allowed.
    pub(super) fn apply(&mut self, sorted: &[EventNid]) {
        for nid in sorted {
            let event = self.graph.event(*nid);
            let Some(state_key) = event.state_key() else { continue };
            let verdict = check_state_dependent(self.version, &event, |event_type, state_key| {
                match self.get(event_type, state_key) {
                    Some(nid) => Some(self.graph.event(nid)),
                    None => auth_event(self.graph, *nid, event_type, state_key)
                        .map(|nid| self.graph.event(nid))
                        .filter(|auth_event| !auth_event.rejected()),
                }
            });
            if verdict.is_ok() {
                self.state.insert((event.event_type().to_owned(), state_key.to_owned()), *nid);
            }
            self.checks.push(Check { nid: *nid, verdict });
        }
    }
}
