//! Random rooms whose branches fork and join again.

use std::collections::BTreeSet;

use matriarch_rules::{
    Event, Map, RoomVersion, auth_types_for_event, check_state_dependent, check_state_independent,
    power_levels::is_creator,
    room_version::StateResolution,
    state_resolution::{
        EventNid,
        memory::{MemoryRoom, StateMap},
    },
};
use serde_json::{Value, json};

use super::{
    chance::Chance,
    naive::{self, Bits},
    rooms::{CREATOR, event},
};

const USERS: [&str; 6] = [CREATOR, "@bob:a", "@carol:b", "@dave:b", "@eve:c", "@frank:c"];

/// A room that grows.
pub struct ForkingRoom {
    pub version: &'static RoomVersion,
    pub room: MemoryRoom,
    /// The state after each event.
    pub states: Vec<StateMap>,
    /// The auth chain of each event.
    pub chains: Vec<Bits>,
    pub chance: Chance,
    extremities: BTreeSet<EventNid>,
    time: usize,
    most_extremities: usize,
    /// In some rooms every event that its auth events allow becomes state, even if the state before it
    /// forbids it: other servers may have seen another state.
    credulous: bool,
}

impl ForkingRoom {
    /// A room with a few events.
    pub fn new(version: &'static RoomVersion, seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let most_extremities = 2 + chance.below(5);
        let credulous = chance.percent(20);
        let mut room = Self {
            version,
            room: MemoryRoom::new(version),
            states: Vec::new(),
            chains: Vec::new(),
            chance,
            extremities: BTreeSet::new(),
            time: 0,
            most_extremities,
            credulous,
        };
        room.create();
        room
    }

    fn create(&mut self) {
        let mut content = json!({ "room_version": self.version.id });
        if !self.version.creator_is_sender {
            content["creator"] = CREATOR.into();
        }
        if self.chance.percent(5) {
            content["m.federate"] = false.into();
        }
        if self.chance.percent(50) {
            let count = self.chance.below(3);
            content["additional_creators"] = self.chance.sample(&USERS[1..], count).into();
        }
        let create = event(self.version, "$create", CREATOR, "m.room.create", Some(""), content);
        self.push(create, &[], StateMap::new(), false);
        self.send(CREATOR, "m.room.member", Some(CREATOR), json!({ "membership": "join" }));
        if self.chance.percent(90) {
            let mut users = Map::new();
            if !self.version.privileged_creators {
                users.insert(CREATOR.to_owned(), 100.into());
            }
            for user in &USERS[1..4] {
                if !self.is_creator(user) {
                    users.insert((*user).to_owned(), self.chance.pick(&[0, 50, 50, 100]).into());
                }
            }
            self.send(CREATOR, "m.room.power_levels", Some(""), json!({ "users": users }));
        }
        let rule = self.chance.pick(&["public", "public", "public", "invite", "restricted", "knock"]);
        self.send(CREATOR, "m.room.join_rules", Some(""), json!({ "join_rule": rule }));
        for user in &USERS[1..] {
            if self.chance.percent(60) {
                self.send(user, "m.room.member", Some(user), json!({ "membership": "join" }));
            }
        }
    }

    /// Adds an event somewhere. `merge` resolves the states after its previous events.
    pub fn step(&mut self, merge: &mut impl FnMut(&mut Self, &[StateMap]) -> StateMap) {
        let prev_events = self.choose_prev_events();
        let state = self.state_after(&prev_events, merge);
        // An event that is not allowed is replaced by another one, or added as a rejected event.
        for attempt in 0..4 {
            if self.add(&state, &prev_events, attempt == 3) {
                return;
            }
        }
    }

    fn state_after(
        &mut self,
        events: &[EventNid],
        merge: &mut impl FnMut(&mut Self, &[StateMap]) -> StateMap,
    ) -> StateMap {
        let states: Vec<_> = events.iter().map(|nid| self.states[*nid as usize].clone()).collect();
        match states.as_slice() {
            [state] => state.clone(),
            _ => merge(self, &states),
        }
    }

    fn choose_prev_events(&mut self) -> Vec<EventNid> {
        let extremities: Vec<_> = self.extremities.iter().copied().collect();
        let newest = self.room.len();
        let recent: Vec<_> = (newest.saturating_sub(20)..newest).map(|nid| nid as EventNid).collect();
        match self.chance.below(10) {
            // A new fork.
            0..3 if extremities.len() < self.most_extremities => vec![self.chance.pick(&recent)],
            3..5 => {
                let count = 2 + self.chance.below(5);
                self.chance.sample(&extremities, count)
            }
            // A server that has not seen all events cites some that are no forward extremities any more.
            5 => {
                let count = 2 + self.chance.below(2);
                self.chance.sample(&recent, count)
            }
            _ => vec![self.chance.pick(&extremities)],
        }
    }

    fn add(&mut self, state: &StateMap, prev_events: &[EventNid], last: bool) -> bool {
        let (sender, event_type, state_key, content) = self.choose_event(state);
        let json = self.event(sender, event_type, state_key.as_deref(), content, state, prev_events);
        let event = Event::new("$incoming", json.clone());
        let by_auth_events = self.allowed_by_auth_events(&event);
        let allowed = by_auth_events && (self.credulous || self.allowed_by_state(&event, state));
        if allowed || (last && self.chance.percent(30)) {
            self.push(json, prev_events, state.clone(), !allowed);
        }
        allowed
    }

    /// Adds an event after the only forward extremity, if it is allowed there.
    fn send(&mut self, sender: &str, event_type: &str, state_key: Option<&str>, content: Value) {
        let prev_events: Vec<_> = self.extremities.iter().copied().collect();
        let state = self.states[prev_events[0] as usize].clone();
        let json = self.event(sender, event_type, state_key, content, &state, &prev_events);
        let event = Event::new("$incoming", json.clone());
        if self.allowed_by_auth_events(&event) && self.allowed_by_state(&event, &state) {
            self.push(json, &prev_events, state, false);
        }
    }

    fn event(
        &mut self,
        sender: &str,
        event_type: &str,
        state_key: Option<&str>,
        content: Value,
        state: &StateMap,
        prev_events: &[EventNid],
    ) -> Map {
        // The order of ids differs from that of the events.
        let event_id = format!("${:05x}{}", self.chance.below(1 << 20), self.room.len());
        let mut json = event(self.version, &event_id, sender, event_type, state_key, content);
        let view = Event::new(event_id.as_str(), json.clone());
        let keys = auth_types_for_event(self.version, event_type, sender, state_key, view.content());
        // Some servers cite events of the state on another branch.
        let elsewhere = self.chance.percent(10).then(|| self.chance.below(self.states.len()));
        let cited = elsewhere.map_or(state, |nid| &self.states[nid]);
        let mut auth_events: Vec<_> = keys.iter().filter_map(|key| cited.get(key).copied()).collect();
        if self.chance.percent(1) {
            auth_events.push(self.chance.below(self.room.len()) as EventNid);
        }
        let ids = |nids: &[EventNid]| -> Value {
            nids.iter().map(|nid| Value::from(self.room.event(*nid).event_id())).collect()
        };
        json.insert("auth_events".to_owned(), ids(&auth_events));
        json.insert("prev_events".to_owned(), ids(prev_events));
        self.time += self.chance.below(3);
        let wrong_clock = self.chance.percent(20);
        let time = if wrong_clock { self.chance.below(self.time + 10) } else { self.time };
        json.insert("origin_server_ts".to_owned(), time.into());
        json
    }

    fn push(&mut self, json: Map, prev_events: &[EventNid], mut state: StateMap, rejected: bool) {
        let event_id = json["event_id"].as_str().unwrap().to_owned();
        let nid = self.room.push(Event::new(event_id, json).with_rejected(rejected));
        if let Some(key) = self.room.key(nid).filter(|_| !rejected) {
            state.insert(key, nid);
        }
        self.states.push(state);
        self.chains.push(naive::auth_chain(self.room.auth_events(nid), &self.chains));
        self.extremities.retain(|extremity| !prev_events.contains(extremity));
        self.extremities.insert(nid);
    }

    fn allowed_by_auth_events(&self, event: &Event) -> bool {
        let fetch = |event_id: &str| self.room.nid(event_id).map(|nid| self.room.event(nid).clone());
        let auth_events: Vec<_> = event.auth_events().chain(["$create"]).filter_map(fetch).collect();
        // ruma requires join rules where the default would do.
        let is_join = event.event_type() == "m.room.member" && event.content()["membership"] == "join";
        let first_join = event.prev_events().eq(["$create"]);
        if is_join && !first_join && !auth_events.iter().any(|event| event.is("m.room.join_rules", "")) {
            return false;
        }
        check_state_independent(self.version, event, fetch).is_ok()
            && check_state_dependent(self.version, event, |event_type, state_key| {
                auth_events.iter().find(|event| event.is(event_type, state_key)).cloned()
            })
            .is_ok()
    }

    fn allowed_by_state(&self, event: &Event, state: &StateMap) -> bool {
        check_state_dependent(self.version, event, |event_type, state_key| {
            let nid = state.get(&(event_type.to_owned(), state_key.to_owned()))?;
            Some(self.room.event(*nid).clone())
        })
        .is_ok()
    }

    fn is_creator(&self, user: &str) -> bool {
        self.version.privileged_creators && is_creator(self.version, self.room.event(0), user)
    }

    fn members(&self, state: &StateMap, membership: &str) -> Vec<&'static str> {
        let is = |user: &&str| {
            let member = state.get(&("m.room.member".to_owned(), (*user).to_owned()));
            member.is_some_and(|nid| self.room.event(*nid).content()["membership"] == membership)
        };
        USERS.into_iter().filter(is).collect()
    }

    /// A sender, a type, a state key and a content.
    fn choose_event(&mut self, state: &StateMap) -> (&'static str, &'static str, Option<String>, Value) {
        let joined = self.members(state, "join");
        let member = if joined.is_empty() { CREATOR } else { joined[self.chance.below(joined.len())] };
        let other = self.chance.pick(&USERS);
        let room_key = Some(String::new());
        let change = |user: &str, membership| {
            ("m.room.member", Some(user.to_owned()), json!({ "membership": membership }))
        };
        let mut sender = member;
        let (event_type, state_key, content) = match self.chance.below(20) {
            0..5 => {
                sender = other;
                let mut join = change(other, "join");
                if self.version.restricted_joins && self.chance.percent(40) {
                    join.2["join_authorised_via_users_server"] = member.into();
                }
                join
            }
            5 => change(member, "leave"),
            6 => change(other, "invite"),
            7..9 => change(other, "leave"),
            9..11 => change(other, "ban"),
            11 => {
                sender = other;
                change(other, "knock")
            }
            12..16 => ("m.room.power_levels", room_key, self.choose_levels(state)),
            16..18 => {
                let rules =
                    ["public", "public", "invite", "invite", "restricted", "knock", "knock_restricted"];
                let rule = self.chance.pick(&rules);
                ("m.room.join_rules", room_key, json!({ "join_rule": rule }))
            }
            18 => ("m.room.topic", room_key, json!({ "topic": self.time })),
            _ if self.chance.percent(30) => ("m.room.message", None, json!({ "body": "…" })),
            _ => {
                let own = self.chance.percent(50);
                ("org.example.own", Some(if own { member } else { "key" }.to_owned()), json!({}))
            }
        };
        (sender, event_type, state_key, content)
    }

    /// The current power levels with a change or two.
    fn choose_levels(&mut self, state: &StateMap) -> Value {
        let current = state.get(&("m.room.power_levels".to_owned(), String::new()));
        let mut content = current.map_or(Map::new(), |nid| self.room.event(*nid).content().clone());
        for _ in 0..=self.chance.below(2) {
            let mut level = Value::from(self.chance.pick(&[0, 25, 50, 50, 75, 100]));
            if !self.version.integer_power_levels && self.chance.percent(10) {
                level = level.to_string().into();
            }
            let entry = |content: &mut Map, field: &str, key: &str, level| {
                content.entry(field).or_insert_with(|| json!({}))[key] = level;
            };
            match self.chance.below(10) {
                0..6 => {
                    let user = self.chance.pick(&USERS);
                    if !self.is_creator(user) {
                        entry(&mut content, "users", user, level);
                    }
                }
                6 => {
                    let types = ["m.room.join_rules", "m.room.power_levels", "m.room.topic", "m.room.member"];
                    entry(&mut content, "events", self.chance.pick(&types), level);
                }
                _ => {
                    let names = ["ban", "kick", "invite", "state_default", "users_default", "events_default"];
                    content.insert(self.chance.pick(&names).to_owned(), level);
                }
            }
        }
        content.into()
    }

    /// States that no event has: mixed from several events, with errors and inventions of other servers.
    pub fn made_up_states(&mut self) -> Vec<StateMap> {
        let count = 2 + self.chance.below(5);
        let own_key = |nid: &usize| self.room.key(*nid as EventNid).is_some();
        let state_events: Vec<_> = (0..self.room.len()).filter(own_key).collect();
        let mut states = Vec::new();
        for _ in 0..count {
            let mut state = self.states[self.chance.below(self.states.len())].clone();
            for _ in 0..self.chance.below(4) {
                let nid = self.chance.pick(&state_events) as EventNid;
                let key = self.room.key(nid).unwrap();
                if self.chance.percent(20) {
                    state.remove(&key);
                } else if !self.room.event(nid).rejected() {
                    state.insert(key, nid);
                }
            }
            states.push(state);
        }
        states
    }

    /// Whether the room's version resolves with the conflicted state subgraph.
    pub fn has_subgraph(&self) -> bool {
        self.version.state_resolution == StateResolution::V2_1
    }
}
