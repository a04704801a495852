//! `m.space.child` events.

use matriarch_rules::{Event, Map, space::compare_children};
use serde_json::{Value, json};

/// A room of a space.
#[derive(Debug)]
pub struct Child {
    pub room_id: String,
    /// Servers that know the room.
    pub via: Vec<String>,
    pub suggested: bool,
    event: Event,
}

impl Child {
    /// Reads an event, whole or stripped; `None` for one that names no child, or none any more.
    pub fn read(event: Map) -> Option<Self> {
        let event = Event::new("", event);
        let room_id =
            event.state_key().filter(|room_id| room_id.starts_with('!') && !room_id.contains('\0'))?;
        let via = event.content().get("via")?.as_array()?;
        let via: Vec<String> =
            via.iter().map(|server| server.as_str().map(str::to_owned)).collect::<Option<_>>()?;
        if via.is_empty() || event.event_type() != "m.space.child" {
            return None;
        }
        let suggested = event.content().get("suggested") == Some(&Value::Bool(true));
        Some(Self { room_id: room_id.to_owned(), via, suggested, event })
    }

    /// Puts children into the order that the space has for them.
    pub fn sort(children: &mut [Self]) {
        children.sort_by(|one, other| compare_children(&one.event, &other.event));
    }

    /// As `children_state` has it: a stripped state event, with its time.
    pub fn to_json(&self) -> Value {
        json!({
            "type": self.event.event_type(),
            "state_key": self.room_id,
            "sender": self.event.sender(),
            "content": self.event.content(),
            "origin_server_ts": self.event.origin_server_ts(),
        })
    }
}
