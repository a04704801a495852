//! Summaries of rooms for users who are not in them.

use std::collections::HashSet;

use matriarch_rules::{Map, RoomVersion};
use serde_json::{Value, json};

use super::Child;
use crate::client::room_directory::Description;

const SPACE: &str = "m.space";

/// The summary of a room.
#[derive(Debug)]
pub struct Summary {
    pub room_id: String,
    /// `RoomSummary`
    pub json: Map,
    pub is_space: bool,
    /// In the order of the space; empty if the room is not a space.
    pub children: Vec<Child>,
    world_readable: bool,
    /// Whether any user may join or knock.
    is_open: bool,
    /// The rooms whose members may join.
    pub allowed: Vec<String>,
}

impl Summary {
    /// The summary of a room that this server has joined.
    pub fn of(room_id: &str, version: &RoomVersion, joined_members: i32, description: &Description) -> Self {
        let mut json = match description.to_json(room_id, joined_members) {
            Value::Object(json) => json,
            _ => Map::new(),
        };
        let rule = description.join_rule.as_deref();
        let restricts = match rule {
            Some("restricted") => version.restricted_joins,
            Some("knock_restricted") => version.knock_restricted_joins,
            _ => false,
        };
        let is_open = match rule {
            Some("public") => true,
            Some("knock") => version.knocking,
            Some("knock_restricted") => version.knock_restricted_joins,
            _ => false,
        };
        let allowed = if restricts { description.allowed_room_ids.clone() } else { Vec::new() };
        json.insert("room_version".to_owned(), version.id.into());
        json.extend(
            description.encryption.as_ref().map(|name| ("encryption".to_owned(), name.as_str().into())),
        );
        if restricts {
            json.insert("allowed_room_ids".to_owned(), json!(allowed));
        }
        Self {
            room_id: room_id.to_owned(),
            json,
            is_space: description.room_type.as_deref() == Some(SPACE),
            children: Vec::new(),
            world_readable: description.world_readable(),
            is_open,
            allowed,
        }
    }

    /// Reads a summary from another server, ignoring unknown keys. `None` without a room id.
    pub fn read(given: &Map) -> Option<Self> {
        let text = |key: &str| given.get(key).and_then(Value::as_str).filter(|text| !text.contains('\0'));
        let flag = |key: &str| given.get(key).and_then(Value::as_bool).unwrap_or(false);
        let room_id = text("room_id").filter(|room_id| room_id.starts_with('!'))?;
        let mut json = Map::new();
        json.insert("room_id".to_owned(), room_id.into());
        let members = given.get("num_joined_members").and_then(Value::as_u64).unwrap_or_default();
        json.insert("num_joined_members".to_owned(), members.into());
        for key in ["world_readable", "guest_can_join"] {
            json.insert(key.to_owned(), flag(key).into());
        }
        let texts = [
            "name",
            "topic",
            "canonical_alias",
            "avatar_url",
            "join_rule",
            "room_type",
            "encryption",
            "room_version",
        ];
        for key in texts {
            json.extend(text(key).map(|text| (key.to_owned(), text.into())));
        }
        let allowed = given.get("allowed_room_ids").and_then(Value::as_array).into_iter().flatten();
        let allowed: Vec<String> =
            allowed.filter_map(Value::as_str).filter(|id| !id.contains('\0')).map(str::to_owned).collect();
        if !allowed.is_empty() {
            json.insert("allowed_room_ids".to_owned(), json!(allowed));
        }
        let is_space = text("room_type") == Some(SPACE);
        let given_children = given.get("children_state").and_then(Value::as_array).into_iter().flatten();
        let children = given_children.filter(|_| is_space).filter_map(Value::as_object).cloned();
        let mut children: Vec<Child> = children.filter_map(Child::read).collect();
        Child::sort(&mut children);
        let is_open =
            matches!(text("join_rule").unwrap_or("public"), "public" | "knock" | "knock_restricted");
        let world_readable = flag("world_readable");
        Some(Self { room_id: room_id.to_owned(), json, is_space, children, world_readable, is_open, allowed })
    }

    /// Whether any user may see the room.
    pub fn is_public(&self) -> bool {
        self.is_open || self.world_readable
    }

    /// Whether a user may see the room: users who are in it, or may join, knock or read it. `joined` has
    /// those of the allowed rooms that the user is in.
    pub fn may_be_shown(&self, membership: Option<&str>, joined: &HashSet<String>) -> bool {
        match membership {
            Some("join" | "invite") => true,
            Some("ban") => self.world_readable,
            _ => self.is_public() || self.allowed.iter().any(|room_id| joined.contains(room_id)),
        }
    }

    /// The children, or only the suggested ones.
    pub fn children(&self, suggested_only: bool) -> impl DoubleEndedIterator<Item = &Child> {
        self.children.iter().filter(move |child| child.suggested || !suggested_only)
    }

    /// The summary with `children_state`.
    pub fn with_children(&self, suggested_only: bool) -> Value {
        let children: Vec<Value> = self.children(suggested_only).map(Child::to_json).collect();
        let mut json = self.json.clone();
        json.insert("children_state".to_owned(), children.into());
        json.into()
    }
}
