//! Rooms in memory, for tests and tools.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{ConflictedState, EventNid, Graph, Resolution, StateKey, StateSets, resolve};
use crate::{Event, RoomVersion};

/// A state as a whole.
pub type StateMap = BTreeMap<StateKey, EventNid>;

/// How many events are handed out at once, so that there are several batches.
const BATCH: usize = 3;

/// The events of a room. They are numbered from 0.
#[derive(Clone, Debug)]
pub struct MemoryRoom {
    version: RoomVersion,
    create: Option<EventNid>,
    events: Vec<Arc<Event>>,
    auth_events: Vec<Vec<EventNid>>,
    /// Oldest first.
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

    /// Adds an event, and returns its number. Auth events must be added before: those that are not are left out.
    pub fn push(&mut self, event: Event) -> EventNid {
        let mut auth_events: Vec<_> =
            event.auth_events().filter_map(|event_id| self.nids.get(event_id).copied()).collect();
        auth_events.sort_unstable();
        auth_events.dedup();
        self.push_with(event, auth_events)
    }

    /// Adds an event with these auth events, whatever its JSON says. What is not older is left out.
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

    /// An event. Panics if there is none of this number.
    pub fn event(&self, nid: EventNid) -> &Arc<Event> {
        &self.events[nid as usize]
    }

    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// The auth events of an event. Panics if there is none of this number.
    pub fn auth_events(&self, nid: EventNid) -> &[EventNid] {
        &self.auth_events[nid as usize]
    }

    /// The key of a state event.
    pub fn key(&self, nid: EventNid) -> Option<StateKey> {
        let event = self.event(nid);
        Some((event.event_type().to_owned(), event.state_key()?.to_owned()))
    }

    /// The resolved state, with the steps to it.
    pub fn resolve(&self, sets: &[StateMap]) -> (StateMap, Resolution) {
        let graph = MemoryGraph::new(self, sets);
        let resolution = resolve(&self.version, &graph, sets.len(), graph.conflicted());
        let mut state = graph.unconflicted.clone();
        state.extend(resolution.state.clone());
        (state, resolution)
    }
}

/// A room, and states of it that are to be resolved.
#[derive(Clone, Debug)]
pub struct MemoryGraph<'a> {
    room: &'a MemoryRoom,
    sets: &'a [StateMap],
    unconflicted: StateMap,
    conflicted: ConflictedState,
}

impl<'a> MemoryGraph<'a> {
    /// Compares the states, key by key.
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

    /// Where the states differ.
    pub fn conflicted(&self) -> &ConflictedState {
        &self.conflicted
    }

    /// Where they do not.
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
