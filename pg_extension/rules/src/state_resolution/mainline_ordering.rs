//! The mainline ordering.
//!
//! Spec: "Let *P* = *P0* be an `m.room.power_levels` event. Starting with *i* = 0, repeatedly fetch *Pi+1*,
//! the `m.room.power_levels` event in the `auth_events` of *Pi*. […] The *mainline of P0* is the list of
//! events [*P0*, *P1*, …, *Pn*], fetched in this way."

use std::{cmp::Reverse, collections::BTreeMap};

use super::{EventNid, Graph, auth_events::power_levels_event};

/// The mainline of a power levels event.
///
/// A room can have thousands of power levels events, and most conflicts are among recent events. So the
/// mainline is followed only as far as a position is needed, and no event is followed twice.
pub(super) struct Mainline<'a, G> {
    graph: &'a G,
    /// Newest first.
    pub(super) events: Vec<EventNid>,
    /// Whether `events` is the whole mainline.
    is_complete: bool,
    /// For power levels events in the mainline, their index; for others, that of the first event of the
    /// mainline that they lead to.
    positions: BTreeMap<EventNid, Option<usize>>,
}

impl<'a, G: Graph> Mainline<'a, G> {
    /// The mainline of this power levels event; an empty one for `None`.
    pub(super) fn new(graph: &'a G, power_levels: Option<EventNid>) -> Self {
        let mut mainline = Self {
            graph,
            events: Vec::new(),
            is_complete: power_levels.is_none(),
            positions: BTreeMap::new(),
        };
        mainline.extend(power_levels);
        mainline
    }

    fn extend(&mut self, power_levels: Option<EventNid>) {
        if let Some(nid) = power_levels {
            self.positions.insert(nid, Some(self.events.len()));
            self.events.push(nid);
        }
    }

    /// Follows the mainline until it reaches this event or passes where it would be.
    fn follow_to(&mut self, nid: EventNid) {
        while let Some(last) = self.events.last().filter(|last| !self.is_complete && **last > nid) {
            let next = power_levels_event(self.graph, *last);
            self.is_complete = next.is_none();
            self.extend(next);
        }
    }

    /// The mainline position of an event. `None` stands for infinity: the event does not lead to the
    /// mainline.
    ///
    /// Spec: "Let *e* = *e0* be another event […]. We can compute a similar list of events [*e1*, …, *em*],
    /// where *ej+1* is the `m.room.power_levels` event in the `auth_events` of *ej* […]. Find the smallest
    /// index *j* ≥ 1 for which *ej* belongs to the mainline of *P*. If such a *j* exists, then *ej* = *Pi*
    /// for some unique index *i* ≥ 0. Otherwise set *i* = ∞".
    fn position(&mut self, event: EventNid) -> Option<usize> {
        let mut followed = Vec::new();
        let mut next = power_levels_event(self.graph, event);
        let position = loop {
            let Some(nid) = next else { break None };
            self.follow_to(nid);
            if let Some(position) = self.positions.get(&nid) {
                break *position;
            }
            followed.push(nid);
            next = power_levels_event(self.graph, nid);
        };
        self.positions.extend(followed.into_iter().map(|nid| (nid, position)));
        position
    }

    /// Sorts events in mainline ordering.
    ///
    /// Spec: "for events *x* and *y*, *x* < *y* if
    ///
    /// 1. the mainline position of *x* is **greater** than the mainline position of *y* (i.e. the auth chain
    ///    of *x* is based on an earlier event in the mainline than *y*); or
    /// 2. the mainline positions of the events are the same, but *x*'s `origin_server_ts` is *less* than
    ///    *y*'s `origin_server_ts`; or
    /// 3. the mainline positions of the events are the same and the events have the same `origin_server_ts`,
    ///    but *x*'s `event_id` is *less* than *y*'s `event_id`."
    pub(super) fn sort(&mut self, events: impl Iterator<Item = EventNid>) -> Vec<EventNid> {
        let mut ranked: Vec<_> = events
            .map(|nid| {
                let event = self.graph.event(nid);
                let position = self.position(nid).unwrap_or(usize::MAX);
                (Reverse(position), event.origin_server_ts(), event.event_id().to_owned(), nid)
            })
            .collect();
        ranked.sort_unstable();
        ranked.into_iter().map(|(_, _, _, nid)| nid).collect()
    }
}
