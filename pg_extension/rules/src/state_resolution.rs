//! State resolution: which state a room has where branches of its event graph meet.
//!
//! Spec: "State resolution" of room versions [1](https://spec.matrix.org/v1.19/rooms/v1/#state-resolution),
//! [2](https://spec.matrix.org/v1.19/rooms/v2/#state-resolution) and
//! [12](https://spec.matrix.org/v1.19/rooms/v12/#state-resolution).
//!
//! The state sets themselves are never looked at as a whole: the caller finds the conflicts, [`Graph`] answers for
//! single events and keys, and the cost follows the conflict.

use std::{collections::BTreeMap, ops::Deref};

use crate::Event;

mod state_sets;

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

    /// The auth events of an event, in no order. In room versions whose room id is the create event's id, the create
    /// event is among them although the event does not cite it.
    fn auth_events(&self, nid: EventNid) -> Vec<EventNid>;

    /// Some of the state events that cite this one as auth event and were not rejected, newest first: the newest of
    /// those that are older than `before`. Empty when there are no more.
    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid>;

    /// The state sets that have this event at its key.
    fn sets_with(&self, nid: EventNid) -> StateSets;

    /// The event at a key of the unconflicted state; `None` also for conflicted keys.
    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid>;

    /// Tells which events are asked for next, so that they can be read together.
    fn read_ahead(&self, _nids: &[EventNid]) {}
}
