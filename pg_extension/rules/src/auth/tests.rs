//! Every rule, with an allowed and a rejected event, in every room version, with the number of the rule.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Rejection, auth_types_for_event, check_state_dependent, check_state_independent};
use crate::{
    Event, Map, RoomVersion,
    room_version::{ALL, StateResolution},
};

mod auth_events;
mod create;
mod member;
mod other;
mod power_levels;
mod restricted;
mod third_party_invite;

/// The room's creator: joined, without an entry in the power levels.
const CREATOR: &str = "@creator:a";
/// Joined, level 100.
const ADMIN: &str = "@admin:a";
/// Joined, level 50.
const MODERATOR: &str = "@moderator:b";
/// Joined, level 0.
const USER: &str = "@user:b";
/// Not joined.
const OTHER: &str = "@other:c";

/// The room versions from the first to the second one.
fn versions(from: usize, to: usize) -> impl Iterator<Item = &'static RoomVersion> {
    ALL[from - 1..to].iter()
}

fn all() -> impl Iterator<Item = &'static RoomVersion> {
    ALL.iter()
}

/// Chooses the number of a rule on membership: in versions 1 to 5, 6 and 7, 8 to 11, and 12.
fn by_member_rules<'a>(version: &RoomVersion, numbers: [&'a str; 4]) -> &'a str {
    let index = match version.id {
        "1" | "2" | "3" | "4" | "5" => 0,
        "6" | "7" => 1,
        "12" => 3,
        _ => 2,
    };
    numbers[index]
}

/// Chooses the number of another rule: in versions 1 to 5, 6 to 11, and 12.
fn by_text<'a>(version: &RoomVersion, numbers: [&'a str; 3]) -> &'a str {
    let index = match version.id {
        "1" | "2" | "3" | "4" | "5" => 0,
        "12" => 2,
        _ => 1,
    };
    numbers[index]
}

/// A public room with the users above.
struct Room {
    version: &'static RoomVersion,
    state: BTreeMap<(String, String), Event>,
    /// Events that are not in the state but can be fetched.
    others: Vec<Event>,
}

impl Room {
    fn new(version: &'static RoomVersion) -> Self {
        let mut room = Self { version, state: BTreeMap::new(), others: Vec::new() };
        room.set(CREATOR, "m.room.create", "", create_content(version));
        room.set(CREATOR, "m.room.join_rules", "", json!({ "join_rule": "public" }));
        room.set_levels(json!({ "users": { ADMIN: 100, MODERATOR: 50 } }));
        for user in [CREATOR, ADMIN, MODERATOR, USER] {
            room.set_member(user, "join");
        }
        room
    }

    /// Sets an entry of the state without checking the rules.
    fn set(&mut self, sender: &str, event_type: &str, state_key: &str, content: Value) {
        let event = self.event(sender, event_type, Some(state_key), content);
        let event_id = format!("${event_type}/{state_key}:a");
        let event = Event::new(event_id, event.into_json());
        self.state.insert((event_type.to_owned(), state_key.to_owned()), event);
    }

    fn set_member(&mut self, user: &str, membership: &str) {
        self.set(user, "m.room.member", user, json!({ "membership": membership }));
    }

    fn set_levels(&mut self, content: Value) {
        self.set(CREATOR, "m.room.power_levels", "", content);
    }

    fn set_join_rule(&mut self, join_rule: &str) {
        self.set(CREATOR, "m.room.join_rules", "", json!({ "join_rule": join_rule }));
    }

    fn unset(&mut self, event_type: &str, state_key: &str) {
        self.state.remove(&(event_type.to_owned(), state_key.to_owned()));
    }

    fn get(&self, event_type: &str, state_key: &str) -> Option<&Event> {
        self.state.get(&(event_type.to_owned(), state_key.to_owned()))
    }

    /// The room's id.
    fn id(&self) -> String {
        if self.version.room_id_is_create_event_id {
            "!m.room.create/:a".to_owned()
        } else {
            "!room:a".to_owned()
        }
    }

    /// An event after some other event, with the right `auth_events`.
    fn event(&self, sender: &str, event_type: &str, state_key: Option<&str>, content: Value) -> Event {
        let content = content.as_object().unwrap().clone();
        let selected = auth_types_for_event(self.version, event_type, sender, state_key, &content);
        let auth_events: Vec<_> =
            selected.iter().filter_map(|key| self.state.get(key)).map(Event::event_id).collect();
        let prev_events = if event_type == "m.room.create" { json!([]) } else { json!(["$prev:a"]) };
        let mut json = Map::new();
        let mut field = |name: &str, value| json.insert(name.to_owned(), value);
        field("sender", sender.into());
        field("type", event_type.into());
        field("content", content.into());
        field("prev_events", prev_events);
        field("auth_events", auth_events.into());
        if let Some(state_key) = state_key {
            field("state_key", state_key.into());
        }
        if event_type != "m.room.create" || !self.version.room_id_is_create_event_id {
            field("room_id", self.id().into());
        }
        Event::new("$event:a", json)
    }

    fn message(&self, sender: &str) -> Event {
        self.event(sender, "m.room.message", None, json!({ "body": "hello" }))
    }

    fn state_event(&self, sender: &str, event_type: &str) -> Event {
        self.event(sender, event_type, Some(""), json!({}))
    }

    fn member_event(&self, sender: &str, target: &str, membership: &str) -> Event {
        let content = json!({ "membership": membership });
        self.event(sender, "m.room.member", Some(target), content)
    }

    fn levels_event(&self, sender: &str, content: Value) -> Event {
        self.event(sender, "m.room.power_levels", Some(""), content)
    }

    fn check(&self, event: &Event) -> Result<(), Rejection> {
        check_state_independent(self.version, event, |event_id| {
            self.state.values().chain(&self.others).find(|event| event.event_id() == event_id)
        })?;
        check_state_dependent(self.version, event, |event_type, state_key| self.get(event_type, state_key))
    }

    #[track_caller]
    fn allows(&self, event: &Event) {
        let result = self.check(event);
        assert_eq!(result, Ok(()), "in room version {}", self.version.id);
    }

    #[track_caller]
    fn rejects(&self, event: &Event, rule: &str) {
        let result = self.check(event);
        assert!(!rule.is_empty(), "no rule expected in room version {}", self.version.id);
        assert_eq!(
            result.as_ref().map_err(|rejection| rejection.rule),
            Err(rule),
            "in room version {}: {result:?}",
            self.version.id
        );
    }
}

fn create_content(version: &RoomVersion) -> Value {
    let mut content = json!({ "room_version": version.id });
    if !version.creator_is_sender {
        content["creator"] = CREATOR.into();
    }
    content
}

/// The event with a field changed.
fn with(event: Event, field: &str, value: Value) -> Event {
    let event_id = event.event_id().to_owned();
    let mut json = event.into_json();
    json.insert(field.to_owned(), value);
    Event::new(event_id, json)
}

#[test]
fn every_room_version_has_its_own_state_resolution() {
    assert_eq!(ALL[0].state_resolution, StateResolution::V1);
    assert_eq!(ALL[11].state_resolution, StateResolution::V2_1);
    assert!(versions(2, 11).all(|version| version.state_resolution == StateResolution::V2));
}
