//! The parts of a room's current state that the room directory shows.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::{base::spi::Db, client::room_membership::allowed_rooms, room::parse_stored};

/// The description of a room by its current state.
#[derive(Debug, Default)]
pub struct Description {
    pub name: Option<String>,
    pub topic: Option<String>,
    pub canonical_alias: Option<String>,
    pub avatar_url: Option<String>,
    pub join_rule: Option<String>,
    pub room_type: Option<String>,
    pub history_visibility: Option<String>,
    pub guest_access: Option<String>,
    pub encryption: Option<String>,
    /// The rooms whose members may join, by the join rules.
    pub allowed_room_ids: Vec<String>,
}

const READ: &str = "
    select k.room_nid, k.type, e.json
    from room_state_keys k
    join events e on e.event_nid = k.current_event_nid
    where k.room_nid = any($1)
        and k.state_key = ''
        and k.type in (
            'm.room.create', 'm.room.name', 'm.room.topic', 'm.room.canonical_alias', 'm.room.avatar',
            'm.room.join_rules', 'm.room.history_visibility', 'm.room.guest_access', 'm.room.encryption'
        )";

impl Description {
    /// The descriptions of these rooms, by `room_nid`.
    pub fn of(db: &Db<'_>, room_nids: &[i64]) -> HashMap<i64, Self> {
        let mut descriptions: HashMap<i64, Self> = HashMap::new();
        for row in db.query(READ, &[room_nids.to_vec().into()]) {
            let event = parse_stored(&row.get::<String>("json"));
            if let Some(Value::Object(content)) = event.get("content") {
                let description = descriptions.entry(row.get("room_nid")).or_default();
                description.add(&row.get::<String>("type"), content);
            }
        }
        descriptions
    }

    fn add(&mut self, event_type: &str, content: &Map<String, Value>) {
        let string =
            |key| content.get(key)?.as_str().filter(|string: &&str| !string.is_empty()).map(str::to_owned);
        match event_type {
            "m.room.create" => self.room_type = string("type"),
            "m.room.name" => self.name = string("name"),
            "m.room.topic" => self.topic = plain_topic(content).or_else(|| string("topic")),
            "m.room.canonical_alias" => self.canonical_alias = string("alias"),
            "m.room.avatar" => self.avatar_url = string("url"),
            "m.room.join_rules" => {
                self.join_rule = string("join_rule");
                self.allowed_room_ids = allowed_rooms(content);
            }
            "m.room.encryption" => self.encryption = string("algorithm"),
            "m.room.history_visibility" => self.history_visibility = string("history_visibility"),
            _ => self.guest_access = string("guest_access"),
        }
    }

    /// Whether all users may read the room's history.
    pub fn world_readable(&self) -> bool {
        self.history_visibility.as_deref() == Some("world_readable")
    }

    /// Whether name, topic or alias contain this text, which must be in lower case.
    pub fn mentions(&self, lowercase: &str) -> bool {
        [&self.name, &self.topic, &self.canonical_alias]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(lowercase))
    }

    /// `PublishedRoomsChunk`
    pub fn to_json(&self, room_id: &str, joined_members: i32) -> Value {
        let mut chunk = json!({
            "room_id": room_id,
            "num_joined_members": joined_members,
            "world_readable": self.world_readable(),
            "guest_can_join": self.guest_access.as_deref() == Some("can_join"),
        });
        let optional = [
            ("name", &self.name),
            ("topic", &self.topic),
            ("canonical_alias", &self.canonical_alias),
            ("avatar_url", &self.avatar_url),
            ("join_rule", &self.join_rule),
            ("room_type", &self.room_type),
        ];
        for (key, value) in optional {
            if let Some(value) = value {
                chunk[key] = value.as_str().into();
            }
        }
        chunk
    }
}

/// The plain text of a topic in several formats (`m.topic`).
fn plain_topic(content: &Map<String, Value>) -> Option<String> {
    let forms = content.get("m.topic")?.get("m.text")?.as_array()?;
    let plain =
        forms.iter().find(|form| form.get("mimetype").is_none_or(|mimetype| mimetype == "text/plain"))?;
    plain.get("body")?.as_str().map(str::to_owned)
}
