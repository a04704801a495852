//! Rooms in memory, for tests and tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{ConflictedState, EventNid, Graph, Resolution, StateKey, StateSets, resolve};
use crate::{Event, RoomVersion};

/// A whole state.
pub type StateMap = BTreeMap<StateKey, EventNid>;

/// How many events [`Graph::citing`] returns at once: few, so that tests need several batches.
const BATCH: usize = 3;

/// The events of a room, numbered from 0.
#[derive(Clone, Debug)]
pub struct MemoryRoom {
    version: RoomVersion,
    create: Option<EventNid>,
    events: Vec<Arc<Event>>,
    auth_events: Vec<Vec<EventNid>>,
    /// For each event, the state events that cite it and were not rejected, oldest first.
    citing: Vec<Vec<EventNid>>,
    nids: BTreeMap<String, EventNid>,
}

impl MemoryRoom {
    /// A room without events.
    pub fn new(version: &RoomVersion) -> Self {
        Self {
            version: version.clone(),
            create: None,
            events: Vec::new(),
            auth_events: Vec::new(),
            citing: Vec::new(),
            nids: BTreeMap::new(),
        }
    }

    /// Adds an event and returns its number. Auth events that were not added before are ignored.
    pub fn push(&mut self, event: Event) -> EventNid {
        let mut auth_events: Vec<_> =
            event.auth_events().filter_map(|event_id| self.nids.get(event_id).copied()).collect();
        auth_events.sort_unstable();
        auth_events.dedup();
        self.push_with(event, auth_events)
    }

    /// Adds an event with these auth events, instead of those in its JSON. Numbers of events that do not
    /// exist yet are ignored.
    pub fn push_with(&mut self, event: Event, mut auth_events: Vec<EventNid>) -> EventNid {
        let nid = self.events.len() as EventNid;
        auth_events.retain(|auth_event| (0..nid).contains(auth_event));
        if event.is("m.room.create", "") {
            self.create.get_or_insert(nid);
        }
        if event.is_state() && !event.rejected() {
            for auth_event in &auth_events {
                self.citing[*auth_event as usize].push(nid);
            }
        }
        self.nids.insert(event.event_id().to_owned(), nid);
        self.events.push(Arc::new(event));
        self.auth_events.push(auth_events);
        self.citing.push(Vec::new());
        nid
    }

    /// The number of an event.
    pub fn nid(&self, event_id: &str) -> Option<EventNid> {
        self.nids.get(event_id).copied()
    }

    /// An event. Panics if there is none with this number.
    pub fn event(&self, nid: EventNid) -> &Arc<Event> {
        &self.events[nid as usize]
    }

    /// The number of events.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The auth events of an event. Panics if there is none with this number.
    pub fn auth_events(&self, nid: EventNid) -> &[EventNid] {
        &self.auth_events[nid as usize]
    }

    /// The state key of an event; `None` for message events.
    pub fn key(&self, nid: EventNid) -> Option<StateKey> {
        let event = self.event(nid);
        Some((event.event_type().to_owned(), event.state_key()?.to_owned()))
    }

    /// Resolves state sets. Returns the whole resolved state, and the resolution with its steps.
    pub fn resolve(&self, sets: &[StateMap]) -> (StateMap, Resolution) {
        let graph = MemoryGraph::new(self, sets);
        let resolution = resolve(&self.version, &graph, sets.len(), graph.conflicted());
        let mut state = graph.unconflicted.clone();
        state.extend(resolution.state.clone());
        (state, resolution)
    }
}

/// A room, and the state sets to resolve.
#[derive(Clone, Debug)]
pub struct MemoryGraph<'a> {
    room: &'a MemoryRoom,
    sets: &'a [StateMap],
    unconflicted: StateMap,
    conflicted: ConflictedState,
}

impl<'a> MemoryGraph<'a> {
    /// Compares the state sets.
    pub fn new(room: &'a MemoryRoom, sets: &'a [StateMap]) -> Self {
        let mut graph =
            Self { room, sets, unconflicted: StateMap::new(), conflicted: ConflictedState::new() };
        for key in sets.iter().flat_map(StateMap::keys).collect::<BTreeSet<_>>() {
            let found: BTreeSet<_> = sets.iter().map(|set| set.get(key).copied()).collect();
            let mut events = found.iter().copied().flatten();
            match (found.len(), events.next()) {
                (1, Some(event)) => {
                    graph.unconflicted.insert(key.clone(), event);
                }
                _ => {
                    graph.conflicted.insert(key.clone(), found.into_iter().flatten().collect());
                }
            }
        }
        graph
    }

    /// The conflicted state.
    pub fn conflicted(&self) -> &ConflictedState {
        &self.conflicted
    }

    /// The unconflicted state.
    pub fn unconflicted_state(&self) -> &StateMap {
        &self.unconflicted
    }
}

impl Graph for MemoryGraph<'_> {
    type Event = Arc<Event>;

    fn event(&self, nid: EventNid) -> Arc<Event> {
        Arc::clone(self.room.event(nid))
    }

    fn auth_events(&self, nid: EventNid) -> Vec<EventNid> {
        self.room.auth_events(nid).to_vec()
    }

    fn implied_create(&self) -> Option<EventNid> {
        self.room.create.filter(|_| self.room.version.room_id_is_create_event_id)
    }

    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid> {
        let citing = &self.room.citing[nid as usize];
        let end = before.map_or(citing.len(), |before| citing.partition_point(|nid| *nid < before));
        citing[..end].iter().rev().take(BATCH).copied().collect()
    }

    fn sets_with(&self, nid: EventNid) -> StateSets {
        let Some(key) = self.room.key(nid) else {
            return StateSets::default();
        };
        (0..self.sets.len()).filter(|set| self.sets[*set].get(&key) == Some(&nid)).collect()
    }

    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        self.unconflicted.get(&(event_type.to_owned(), state_key.to_owned())).copied()
    }
}
