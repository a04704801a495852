//! Hand-written rooms. `tests/oracle` compares random rooms with another implementation.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{cell::Cell, sync::Arc};

use serde_json::{Value, json};

use super::{
    EventNid, Graph, Resolution, StateSets,
    memory::{MemoryGraph, MemoryRoom, StateMap},
};
use crate::{Event, RoomVersion, auth_types_for_event, room_version::ALL};

mod auth_difference;
mod conflicted_subgraph;
mod mainline_ordering;
mod power_events;
mod rejected;
mod v1;
mod v2;

/// The room's creator: level 100 until room version 11, infinite in 12.
const ALICE: &str = "@alice:a";
/// Joined, level 50.
const BOB: &str = "@bob:b";
/// Joined, level 0.
const CAROL: &str = "@carol:c";
/// Not joined.
const DAVE: &str = "@dave:d";

/// The room versions that resolve by the algorithm of version 2 or that of version 12.
fn since_v2() -> impl Iterator<Item = &'static RoomVersion> {
    ALL[1..].iter()
}

/// A public room.
struct Room {
    version: &'static RoomVersion,
    memory: MemoryRoom,
    clock: i64,
}

impl Room {
    /// The room, and its state.
    fn new(version: &'static RoomVersion) -> (Self, StateMap) {
        let mut room = Self { version, memory: MemoryRoom::new(version), clock: 0 };
        let mut state = StateMap::new();
        let mut create = json!({ "room_version": version.id });
        if !version.creator_is_sender {
            create["creator"] = ALICE.into();
        }
        room.set(&mut state, "$create", ALICE, "m.room.create", "", create);
        room.set_member(&mut state, "$alice", ALICE, ALICE, "join");
        room.set_levels(&mut state, "$levels", ALICE, 50);
        room.set_join_rule(&mut state, "$rule", ALICE, "public");
        room.set_member(&mut state, "$bob", BOB, BOB, "join");
        room.set_member(&mut state, "$carol", CAROL, CAROL, "join");
        (room, state)
    }

    /// Adds a state event that cites this state, and puts it into the state.
    fn set(
        &mut self,
        state: &mut StateMap,
        name: &str,
        sender: &str,
        event_type: &str,
        state_key: &str,
        content: Value,
    ) -> EventNid {
        self.clock += 1;
        let keys = auth_types_for_event(
            self.version,
            event_type,
            sender,
            Some(state_key),
            content.as_object().unwrap(),
        );
        let auth_events: Vec<_> = keys.iter().filter_map(|key| state.get(key).copied()).collect();
        let ids: Vec<_> =
            auth_events.iter().map(|nid| self.memory.event(*nid).event_id().to_owned()).collect();
        let mut json = json!({
            "type": event_type,
            "state_key": state_key,
            "sender": sender,
            "content": content,
            "origin_server_ts": self.clock,
            "depth": self.clock,
            "auth_events": ids,
            "prev_events": ["$previous"],
        });
        if !(self.version.room_id_is_create_event_id && event_type == "m.room.create") {
            json["room_id"] = "!create".into();
        }
        let Value::Object(json) = json else { unreachable!() };
        let nid = self.memory.push(Event::new(name, json));
        state.insert((event_type.to_owned(), state_key.to_owned()), nid);
        nid
    }

    fn set_member(&mut self, state: &mut StateMap, name: &str, sender: &str, user: &str, membership: &str) {
        self.set(state, name, sender, "m.room.member", user, json!({ "membership": membership }));
    }

    fn set_join_rule(&mut self, state: &mut StateMap, name: &str, sender: &str, rule: &str) {
        self.set(state, name, sender, "m.room.join_rules", "", json!({ "join_rule": rule }));
    }

    /// Sets Bob's level; Alice keeps hers.
    fn set_levels(&mut self, state: &mut StateMap, name: &str, sender: &str, bob: i64) {
        let mut users = json!({ BOB: bob });
        if !self.version.privileged_creators {
            users[ALICE] = 100.into();
        }
        self.set(state, name, sender, "m.room.power_levels", "", json!({ "users": users }));
    }

    fn set_topic(&mut self, state: &mut StateMap, name: &str, sender: &str) {
        self.set(state, name, sender, "m.room.topic", "", json!({ "topic": name }));
    }

    fn nid(&self, name: &str) -> EventNid {
        self.memory.nid(name).unwrap()
    }

    fn names(&self, nids: impl IntoIterator<Item = EventNid>) -> Vec<&str> {
        nids.into_iter().map(|nid| self.memory.event(nid).event_id()).collect()
    }

    fn resolve(&self, sets: &[StateMap]) -> Resolved<'_> {
        let (state, resolution) = self.memory.resolve(sets);
        Resolved { room: self, state, resolution }
    }
}

/// A resolved state.
struct Resolved<'a> {
    room: &'a Room,
    state: StateMap,
    resolution: Resolution,
}

impl Resolved<'_> {
    /// The name of the event for a state key.
    fn get(&self, event_type: &str, state_key: &str) -> Option<&str> {
        let nid = self.state.get(&(event_type.to_owned(), state_key.to_owned()))?;
        Some(self.room.memory.event(*nid).event_id())
    }

    fn member(&self, user: &str) -> Option<&str> {
        self.get("m.room.member", user)
    }

    fn levels(&self) -> Option<&str> {
        self.get("m.room.power_levels", "")
    }

    fn join_rule(&self) -> Option<&str> {
        self.get("m.room.join_rules", "")
    }

    fn topic(&self) -> Option<&str> {
        self.get("m.room.topic", "")
    }

    /// The events that were checked, with the numbers of the rules that rejected them.
    fn checks(&self) -> Vec<(&str, Option<&'static str>)> {
        let check = |check: &super::Check| {
            let rule = check.verdict.as_ref().err().map(|rejection| rejection.rule);
            (check.nid, rule)
        };
        let checks = self.resolution.checks.iter().map(check);
        checks.map(|(nid, rule)| (self.room.memory.event(nid).event_id(), rule)).collect()
    }
}

/// Counts the calls of the graph's methods.
struct Counting<'a> {
    graph: MemoryGraph<'a>,
    asked: Cell<usize>,
}

impl<'a> Counting<'a> {
    fn new(graph: MemoryGraph<'a>) -> Self {
        Self { graph, asked: Cell::new(0) }
    }

    fn count(&self) {
        self.asked.set(self.asked.get() + 1);
    }
}

impl Graph for Counting<'_> {
    type Event = Arc<Event>;

    fn event(&self, nid: EventNid) -> Arc<Event> {
        self.count();
        self.graph.event(nid)
    }

    fn auth_events(&self, nid: EventNid) -> Vec<EventNid> {
        self.count();
        self.graph.auth_events(nid)
    }

    fn implied_create(&self) -> Option<EventNid> {
        self.graph.implied_create()
    }

    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid> {
        self.count();
        self.graph.citing(nid, before)
    }

    fn sets_with(&self, nid: EventNid) -> StateSets {
        self.count();
        self.graph.sets_with(nid)
    }

    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        self.count();
        self.graph.unconflicted(event_type, state_key)
    }
}

/// An event of which only the name and the state key matter.
fn bare(name: impl Into<String>, state_key: &str) -> Event {
    let Value::Object(json) = json!({ "type": "org.example.bare", "state_key": state_key }) else {
        unreachable!()
    };
    Event::new(name, json)
}

#[test]
fn no_conflict_is_no_work() {
    for version in &ALL {
        let (room, state) = Room::new(version);
        for sets in [vec![], vec![state.clone()], vec![state.clone(), state.clone()]] {
            let resolved = room.resolve(&sets);
            assert_eq!(resolved.resolution, Resolution::default());
            assert_eq!(resolved.state, sets.first().cloned().unwrap_or_default());
        }
    }
}
