//! Events that have no verdict yet.

#[cfg(test)]
mod tests;

use matriarch_rules::json::parse_pdu;
use matriarch_rules::{Event, RoomVersion};
use matriarch_wire::Needs;

use super::batch::{AllUnavailable, Unavailable};
use crate::base::raw_object::objects;

/// What a parsed object takes at least, in bytes.
const OBJECT_BYTES: usize = 512;

/// An event that has no verdict yet.
#[derive(Clone, Debug)]
pub struct Open {
    pub event_id: String,
    pub text: String,
    pub auth_events: Vec<String>,
    pub prev_events: Vec<String>,
    pub depth: i64,
    /// Its size in the memory of who parses it, in bytes.
    pub weight: usize,
    /// The index in the batch; `None` for fetched events.
    pub index: Option<usize>,
    /// What the database said that it needs.
    pub needs: Needs,
}

/// Events without a verdict.
#[derive(Debug, Default)]
pub struct Pool {
    pub events: Vec<Open>,
}

impl Open {
    /// Reads an event of the room. The error says why it is none.
    pub fn read(version: &RoomVersion, room_id: &str, text: String) -> Result<Self, String> {
        let mut json = parse_pdu(&text).map_err(|error| error.to_string())?;
        json.object.remove("unsigned");
        let event = Event::from_pdu(version, json).map_err(|error| error.to_string())?;
        if event.room_id() != Some(room_id) {
            return Err("the event is of another room".to_owned());
        }
        let auth_events: Vec<String> = event.auth_events().map(str::to_owned).collect();
        let prev_events: Vec<String> = event.prev_events().map(str::to_owned).collect();
        let has_nul = |text: &str| text.contains('\0');
        if has_nul(event.event_id()) || auth_events.iter().chain(&prev_events).any(|id| has_nul(id)) {
            return Err("an identifier has U+0000".to_owned());
        }
        let event_id = event.event_id().to_owned();
        let depth = event.depth();
        let weight = text.len() + OBJECT_BYTES * objects(&text);
        let (index, needs) = (None, Needs::default());
        Ok(Self { event_id, text, auth_events, prev_events, depth, weight, index, needs })
    }

    /// Why the event cannot be stored, if so. Without its auth events it would be stored as rejected. A given
    /// state may lack events. If `may_wait`, the event waits for keys and previous events of servers that are
    /// unreachable now; otherwise it does without them.
    pub fn lacks(
        &self,
        unavailable: &AllUnavailable,
        has_state: bool,
        may_wait: bool,
    ) -> Option<Unavailable> {
        let mut needed = self.needs.events.iter().filter(|id| !has_state || self.auth_events.contains(id));
        if let Some(lack) = needed.find_map(|id| unavailable.events.get(id)) {
            return Some(lack.clone());
        }
        if let Some(lack) = unavailable.states.get(&self.event_id).filter(|_| self.needs.state) {
            return Some(lack.clone());
        }
        let mut keys = self.needs.keys.iter().filter_map(|(server, _)| unavailable.keys.get(server));
        let mut prev_events = self.needs.prev_events.iter().filter_map(|id| unavailable.events.get(id));
        let lack = keys.next().or_else(|| prev_events.next())?;
        (may_wait && lack.later).then(|| lack.clone())
    }
}

impl Pool {
    /// Splits the events into parts of at most `max_events` and `max_bytes`, ordered by depth, so that most
    /// events come after those that they cite.
    pub fn parts(mut self, max_events: usize, max_bytes: usize) -> Vec<Vec<Open>> {
        self.events.sort_by_key(|event| event.depth);
        let mut parts: Vec<Vec<Open>> = Vec::new();
        let mut bytes = 0;
        for event in self.events {
            let fits =
                parts.last().is_some_and(|part| part.len() < max_events) && bytes + event.weight <= max_bytes;
            if !fits {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += event.weight;
            if let Some(part) = parts.last_mut() {
                part.push(event);
            }
        }
        parts
    }
}
