//! The reverse topological power ordering.
//!
//! Spec: "the lexicographically smallest topological ordering based on the DAG formed by auth events. […] for
//! events *x* and *y*, *x* < *y* if
//!
//! 1. *x*'s sender has *greater* power level than *y*'s sender, when looking at their respective
//!    `auth_event`s; or
//! 2. the senders have the same power level, but *x*'s `origin_server_ts` is *less* than *y*'s
//!    `origin_server_ts`; or
//! 3. the senders have the same power level and the events have the same `origin_server_ts`, but *x*'s
//!    `event_id` is *less* than *y*'s `event_id`."

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use super::{
    EventNid, Graph,
    auth_events::{auth_event, power_levels_event},
    power_events::PowerEvents,
};
use crate::{
    RoomVersion,
    power_levels::{PowerLevels, UserLevel},
};

/// The sort key of an event. The number comes last and does not affect the order, as ids differ.
type Rank = (Reverse<UserLevel>, i64, String, EventNid);

/// Sorts events by Kahn's algorithm: the next event is the smallest one whose auth events have all been
/// sorted.
pub(super) fn reverse_topological_power_ordering<G: Graph>(
    version: &RoomVersion,
    graph: &G,
    events: &PowerEvents,
) -> Vec<EventNid> {
    let mut citing: BTreeMap<EventNid, Vec<EventNid>> = BTreeMap::new();
    let mut unsorted_auth_events: BTreeMap<EventNid, usize> = BTreeMap::new();
    let mut ready: BinaryHeap<Reverse<Rank>> = BinaryHeap::new();
    for (nid, auth_events) in events {
        for auth_event in auth_events {
            citing.entry(*auth_event).or_default().push(*nid);
        }
        if auth_events.is_empty() {
            ready.push(Reverse(rank(version, graph, *nid)));
        } else {
            unsorted_auth_events.insert(*nid, auth_events.len());
        }
    }

    let mut sorted = Vec::with_capacity(events.len());
    while let Some(Reverse((_, _, _, nid))) = ready.pop() {
        sorted.push(nid);
        for citing in citing.remove(&nid).unwrap_or_default() {
            if let Some(unsorted) = unsorted_auth_events.get_mut(&citing) {
                *unsorted -= 1;
                if *unsorted == 0 {
                    ready.push(Reverse(rank(version, graph, citing)));
                }
            }
        }
    }
    sorted
}

fn rank<G: Graph>(version: &RoomVersion, graph: &G, nid: EventNid) -> Rank {
    let event = graph.event(nid);
    let level = sender_level(version, graph, nid);
    (Reverse(level), event.origin_server_ts(), event.event_id().to_owned(), nid)
}

/// The power level of the event's sender by the event's auth events; 0 if they do not contain it.
fn sender_level<G: Graph>(version: &RoomVersion, graph: &G, nid: EventNid) -> UserLevel {
    let unknown = UserLevel::Level(0);
    let Some(create) = auth_event(graph, nid, "m.room.create", "") else {
        return unknown;
    };
    let create = graph.event(create);
    let power_levels = power_levels_event(graph, nid).map(|nid| graph.event(nid));
    PowerLevels::new(version, &create, power_levels.as_deref())
        .user_level(graph.event(nid).sender())
        .unwrap_or(unknown)
}
