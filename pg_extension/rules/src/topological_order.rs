//! The order of a batch of events in which each comes after those that it cites.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use crate::Event;

/// The places of the events of a batch, each once, every event after those of the batch that it cites;
/// otherwise by depth, time and id, so that the order in which they came does not matter. Events that cite
/// each other in a circle, and those after them, are left out.
pub fn topological_order(events: &[&Event]) -> Vec<usize> {
    let mut by_id: HashMap<&str, usize> = HashMap::new();
    for (place, event) in events.iter().enumerate() {
        by_id.entry(event.event_id()).or_insert(place);
    }
    let mut waiting_for: Vec<usize> = vec![0; events.len()];
    let mut cited_by: Vec<Vec<usize>> = vec![Vec::new(); events.len()];
    for &place in by_id.values() {
        let event = events[place];
        let mut cited: Vec<usize> =
            event.auth_events().chain(event.prev_events()).filter_map(|id| by_id.get(id).copied()).collect();
        cited.sort_unstable();
        cited.dedup();
        waiting_for[place] = cited.len();
        cited.into_iter().for_each(|cited| cited_by[cited].push(place));
    }
    let rank = |place: usize| {
        let event = events[place];
        Reverse((event.depth(), event.origin_server_ts(), event.event_id(), place))
    };
    let mut ready: BinaryHeap<_> =
        by_id.values().filter(|place| waiting_for[**place] == 0).map(|place| rank(*place)).collect();
    let mut order = Vec::with_capacity(by_id.len());
    while let Some(Reverse((.., place))) = ready.pop() {
        order.push(place);
        for &next in &cited_by[place] {
            waiting_for[next] -= 1;
            if waiting_for[next] == 0 {
                ready.push(rank(next));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests;
