//! State resolution of room version 1.

use std::{cmp::Reverse, collections::BTreeMap};

use sha1::{Digest, Sha1};

use super::{Check, ConflictedState, EventNid, Graph, Resolution, StateKey};
use crate::{Rejection, RoomVersion, check_state_dependent};

/// The event types whose conflicts are resolved first, in this order.
const AUTH_TYPES: [&str; 3] = ["m.room.power_levels", "m.room.join_rules", "m.room.member"];

/// Spec: "The resolved state is built up in a number of passes; here we use *R* to refer to the results of
/// the resolution so far."
///
/// A state key is conflicting only if states have different events for it. An event that only some of the
/// states have, without a different one in the others, is in the result.
pub(super) fn resolve<G: Graph>(
    version: &RoomVersion,
    graph: &G,
    conflicted: &ConflictedState,
) -> Resolution {
    graph.read_ahead(&conflicted.values().flatten().copied().collect::<Vec<_>>());
    let mut passes = Passes {
        version,
        graph,
        conflicting: BTreeMap::new(),
        resolved: BTreeMap::new(),
        checks: Vec::new(),
    };
    for (key, events) in conflicted {
        let ordered = ordered(graph, events);
        match ordered.as_slice() {
            [] => {}
            [event] => {
                passes.resolved.insert(key.clone(), *event);
            }
            _ => {
                passes.conflicting.insert(key.clone(), ordered);
            }
        }
    }
    for event_type in AUTH_TYPES {
        passes.resolve_auth_events(event_type);
    }
    passes.resolve_other_events();
    Resolution { state: passes.resolved, checks: passes.checks, ..Resolution::default() }
}

/// Spec: "Sort the list by ascending `depth` then descending `sha1(event_id)`."
fn ordered<G: Graph>(graph: &G, events: &[EventNid]) -> Vec<EventNid> {
    let mut ranked: Vec<_> = events
        .iter()
        .map(|nid| {
            let event = graph.event(*nid);
            let hash: [u8; 20] = Sha1::digest(event.event_id()).into();
            (event.depth(), Reverse(hash), *nid)
        })
        .collect();
    ranked.sort_unstable();
    ranked.dedup();
    ranked.into_iter().map(|(_, _, nid)| nid).collect()
}

struct Passes<'a, G> {
    version: &'a RoomVersion,
    graph: &'a G,
    /// The conflicts that are not resolved yet, with their events in order.
    conflicting: BTreeMap<StateKey, Vec<EventNid>>,
    /// *R* without the unconflicted state.
    resolved: BTreeMap<StateKey, EventNid>,
    checks: Vec<Check>,
}

impl<G: Graph> Passes<'_, G> {
    /// Resolves the conflicts of one of the [`AUTH_TYPES`].
    ///
    /// Spec: "Add the first event in the list to *R*. For each subsequent event in the list, check that the
    /// event would be allowed by the authorization rules for a room in state *R*. If the event would be
    /// allowed, then update *R* with the event and continue with the next event in the list. If it would not
    /// be allowed, stop".
    ///
    /// Conflicts for different state keys of the type do not see each other's results, as they have no order.
    fn resolve_auth_events(&mut self, event_type: &str) {
        let (of_type, others): (BTreeMap<_, _>, _) =
            std::mem::take(&mut self.conflicting).into_iter().partition(|(key, _)| key.0 == event_type);
        self.conflicting = others;
        let mut resolved = BTreeMap::new();
        for (key, ordered) in of_type {
            let mut events = ordered.into_iter();
            let Some(mut winner) = events.next() else { continue };
            for event in events {
                if self.check(event, Some((&key, winner))).is_err() {
                    break;
                }
                winner = event;
            }
            resolved.insert(key, winner);
        }
        self.resolved.extend(resolved);
    }

    /// Resolves the remaining conflicts.
    ///
    /// Spec: "just pick the event with the highest depth and lowest `sha1(event_id)` that passes
    /// authentication in *R* and add it to *R*." The text does not say what happens if no event passes; other
    /// servers then take the last one that they check.
    fn resolve_other_events(&mut self) {
        let mut resolved = BTreeMap::new();
        for (key, ordered) in std::mem::take(&mut self.conflicting) {
            let allowed = ordered.iter().rev().find(|event| self.check(**event, None).is_ok());
            if let Some(winner) = allowed.or(ordered.first()) {
                resolved.insert(key, *winner);
            }
        }
        self.resolved.extend(resolved);
    }

    /// Checks an event against *R*, in which `with` replaces one entry.
    fn check(&mut self, nid: EventNid, with: Option<(&StateKey, EventNid)>) -> Result<(), Rejection> {
        let event = self.graph.event(nid);
        let verdict = check_state_dependent(self.version, &event, |event_type, state_key| {
            let found = match with {
                Some((key, nid)) if key.0 == event_type && key.1 == state_key => Some(nid),
                _ => self
                    .resolved
                    .get(&(event_type.to_owned(), state_key.to_owned()))
                    .copied()
                    .or_else(|| self.graph.unconflicted(event_type, state_key)),
            };
            found.map(|nid| self.graph.event(nid))
        });
        self.checks.push(Check { nid, verdict: verdict.clone() });
        verdict
    }
}
