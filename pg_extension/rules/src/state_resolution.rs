//! State resolution: the state of a room where branches of its event graph join.
//!
//! Spec: "State resolution" of room versions [1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution),
//! [2](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) and
//! [12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).
//!
//! No state set is ever read whole. The caller finds the conflicts, and [`Graph`] gives single events and
//! entries of the states. So the cost depends on the size of the conflict, not of the room.

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

/// The number of an event in a [`Graph`]. It is greater than the numbers of the event's auth events.
pub type EventNid = i64;

/// A state key: `type` and `state_key`.
pub type StateKey = (String, String);

/// The conflicted state: every state key for which the state sets differ, with the events that they have for
/// it. A state key that only some of the sets have is conflicted too.
pub type ConflictedState = BTreeMap<StateKey, Vec<EventNid>>;

/// The room, and the state sets that are resolved, as the algorithms read them. State sets are numbered from
/// 0.
///
/// No method fails: resolution asks only for events that the caller or an earlier result named.
pub trait Graph {
    /// A reference to an event that is cheap to clone.
    type Event: Deref<Target = Event> + Clone;

    /// An event. [`Event::rejected`] must be set correctly.
    fn event(&self, nid: EventNid) -> Self::Event;

    /// The auth events that an event cites, in no order.
    fn auth_events(&self, nid: EventNid) -> Vec<EventNid>;

    /// The create event whose id is the room's id; no event cites it (since room version 12). `None` in other
    /// rooms.
    fn implied_create(&self) -> Option<EventNid>;

    /// State events that cite this one as an auth event and are older than `before`, newest first. Returns a
    /// batch of any size; an empty one means that there are no more.
    ///
    /// Rejected events may be left out, unless they are in the unconflicted state.
    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid>;

    /// The state sets that contain this event.
    fn sets_with(&self, nid: EventNid) -> StateSets;

    /// The event for a state key in the unconflicted state; `None` also for conflicted state keys.
    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid>;

    /// Announces events that will be read next, so that one query can read them all.
    fn read_ahead(&self, _nids: &[EventNid]) {}
}

/// The result of a resolution, with the results of its steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// The resolved state without the unconflicted state. A conflicted state key that is absent here is
    /// absent from the resolved state.
    pub state: BTreeMap<StateKey, EventNid>,
    /// The auth difference of the state sets. Since room version 2.
    pub auth_difference: BTreeSet<EventNid>,
    /// The conflicted state subgraph. Since room version 12.
    pub conflicted_subgraph: BTreeSet<EventNid>,
    /// The power events of the full conflicted set, and those events of their auth chains that are in it, in
    /// the order in which they were checked: reverse topological power ordering. Since room version 2.
    pub power_events: Vec<EventNid>,
    /// The mainline of the power levels event among the resolved power events, newest first, as far as it was
    /// followed. Since room version 2.
    pub mainline: Vec<EventNid>,
    /// The other events of the full conflicted set, in the order in which they were checked: mainline
    /// ordering. Since room version 2.
    pub other_events: Vec<EventNid>,
    /// The checks against the authorization rules, in the order in which they were made.
    pub checks: Vec<Check>,
}

/// The check of an event by the authorization rules, against the state that had been resolved so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The event.
    pub nid: EventNid,
    /// `Ok` if the event was allowed. It was then put into the state.
    pub verdict: Result<(), Rejection>,
}

/// Resolves state sets by the algorithm of the room version.
///
/// `sets` is the number of state sets, `conflicted` their conflicted state; `graph` knows their unconflicted
/// state. The result depends only on the sets, not on how sets and events are numbered.
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
