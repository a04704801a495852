//! State resolution: which state a room has where branches of its event graph meet.
//!
//! Spec: "State resolution" of room versions [1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution),
//! [2](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) and
//! [12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).
//!
//! The state sets themselves are never looked at as a whole: the caller finds the conflicts, [`Graph`] answers for
//! single events and keys, and the cost follows the conflict.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use crate::{Event, Rejection, RoomVersion, room_version::StateResolution};

mod auth_difference;
mod auth_events;
mod conflicted_subgraph;
mod iterative_auth_checks;
mod mainline_ordering;
pub mod memory;
mod power_events;
mod reverse_topological_power_ordering;
mod state_sets;
mod v1;
mod v2;

pub use auth_difference::auth_difference;
pub use conflicted_subgraph::conflicted_subgraph;
pub use state_sets::StateSets;

/// The number of an event in a [`Graph`]: greater than those of its auth events.
pub type EventNid = i64;

/// A type and a state key.
pub type StateKey = (String, String);

/// The conflicted state: every key at which the state sets differ, and the events that they have there. A key that is
/// in some sets only is conflicted too.
pub type ConflictedState = BTreeMap<StateKey, Vec<EventNid>>;

/// What resolution asks of a room and of the state sets that are resolved, which are numbered from 0.
///
/// Nothing here fails: every event that is asked for is one that was named by an answer before.
pub trait Graph {
    /// An event as it is handed out, cheap to clone.
    type Event: Deref<Target = Event> + Clone;

    /// An event. Its [`Event::rejected`] is right.
    fn event(&self, nid: EventNid) -> Self::Event;

    /// The auth events that an event cites, in no order.
    fn auth_events(&self, nid: EventNid) -> Vec<EventNid>;

    /// The create event that the room's id stands for; no event cites it. `None` in room versions without such ids.
    fn implied_create(&self) -> Option<EventNid>;

    /// Some of the state events that cite this one as auth event and were not rejected, newest first: the newest of
    /// those that are older than `before`. Empty when there are no more.
    ///
    /// A rejected event may be left out, unless it is in the unconflicted state.
    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid>;

    /// The state sets that have this event at its key.
    fn sets_with(&self, nid: EventNid) -> StateSets;

    /// The event at a key of the unconflicted state; `None` also for conflicted keys.
    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid>;

    /// Tells which events are asked for next, so that they can be read together.
    fn read_ahead(&self, _nids: &[EventNid]) {}
}

/// A resolution, with its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The resolved state at every key that is not in the unconflicted state. Conflicted keys that are not here are
    /// not in the resolved state.
    pub state: BTreeMap<StateKey, EventNid>,
    /// The auth difference of the state sets. Since room version 2.
    pub auth_difference: BTreeSet<EventNid>,
    /// The conflicted state subgraph. Since room version 12.
    pub conflicted_subgraph: BTreeSet<EventNid>,
    /// The power events of the full conflicted set and those of their auth events that are in it, in reverse
    /// topological power ordering: as they were checked. Since room version 2.
    pub power_events: Vec<EventNid>,
    /// The mainline of the power levels event among the resolved power events, newest first and down to where it was
    /// needed. Since room version 2.
    pub mainline: Vec<EventNid>,
    /// The other events of the full conflicted set in mainline ordering: as they were checked. Since room version 2.
    pub other_events: Vec<EventNid>,
    /// What the authorization rules said, in the order in which they were asked.
    pub checks: Vec<Check>,
}

/// A verdict of the authorization rules on an event, against the state that had been resolved so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The event.
    pub nid: EventNid,
    /// Whether it was allowed, which put it in the state.
    pub verdict: Result<(), Rejection>,
}

/// Resolves state sets as the room version does it.
///
/// `sets` is their number, `conflicted` where they differ; `graph` knows the rest of them. Equal for equal sets,
/// whatever the numbers of sets and events are.
pub fn resolve<G: Graph>(
    version: &RoomVersion,
    graph: &G,
    sets: usize,
    conflicted: &ConflictedState,
) -> Resolution {
    match version.state_resolution {
        StateResolution::V1 => v1::resolve(version, graph, conflicted),
        StateResolution::V2 => v2::resolve(version, graph, sets, conflicted, v2::V2),
        StateResolution::V2_1 => v2::resolve(version, graph, sets, conflicted, v2::V2_1),
    }
}

#[cfg(test)]
mod tests;
