//! `m.space.child` events.

use matriarch_rules::{Event, Map, space::compare_children};
use serde_json::{Value, json};

/// A child of a space.
#[derive(Debug)]
pub struct Child {
    pub room_id: String,
    /// Servers through which the room can be joined.
    pub via: Vec<String>,
    pub suggested: bool,
    event: Event,
}

impl Child {
    /// Reads an event, whole or stripped; `None` if it names no child, or the child was removed.
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

    /// Sorts children in the order of the space.
    pub fn sort(children: &mut [Self]) {
        children.sort_by(|one, other| compare_children(&one.event, &other.event));
    }

    /// An item of `children_state`: a stripped state event with `origin_server_ts`.
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
