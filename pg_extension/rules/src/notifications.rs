//! What an event notifies of: by the [default push
//! rules](https://spec.matrix.org/v1.19/client-server-api/#predefined-rules), whether it does, whom it
//! mentions, and the thread that it is in.

use serde_json::Value;

use crate::{Event, Map, identifiers::is_user_id, power_levels::PowerLevels};

/// The entry in the mentions of an event that stands for all members.
pub const ROOM_MENTION: &str = "@room";

/// Whom an event notifies, as far as the event alone tells.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Notifications {
    /// Whether it notifies members whom it does not mention.
    pub notifies: bool,
    /// User ids, sorted, and [`ROOM_MENTION`]; `None` for nobody.
    pub mentions: Option<Vec<String>>,
}

impl Notifications {
    /// The notifications of an event. `may_mention_room` is called only if the event mentions the room.
    pub fn of(event: &Event, may_mention_room: impl FnOnce() -> bool) -> Self {
        if event.is_state() {
            // `.m.rule.tombstone` highlights for everybody.
            let notifies = event.event_type() == "m.room.tombstone" && event.state_key() == Some("");
            return Self { notifies, mentions: notifies.then(|| vec![ROOM_MENTION.to_owned()]) };
        }
        Self { notifies: notifies(event), mentions: mentions(event, may_mention_room) }
    }
}

/// The id of the event at which a message's thread starts.
pub fn thread_root(event: &Event) -> Option<&str> {
    if event.is_state() { None } else { relation(event.content(), "m.thread") }
}

/// Whether the user's power level allows notifying the whole room.
pub fn may_mention_room(levels: &PowerLevels<'_>, user_id: &str) -> bool {
    matches!(
        (levels.user_level(user_id), levels.notification_level("room")),
        (Ok(level), Ok(required)) if level.reaches(required)
    )
}

/// The ids of the mentioned users, and [`ROOM_MENTION`] if the sender may mention the room.
fn mentions(event: &Event, may_mention_room: impl FnOnce() -> bool) -> Option<Vec<String>> {
    // `.m.rule.suppress_notices` precedes the rules on mentions.
    if is_notice(event) {
        return None;
    }
    let mentions = event.content().get("m.mentions")?.as_object()?;
    let user_ids = mentions.get("user_ids").and_then(Value::as_array).into_iter().flatten();
    let mut mentioned: Vec<String> =
        user_ids.filter_map(Value::as_str).filter(|id| is_user_id(id)).map(str::to_owned).collect();
    if mentions.get("room") == Some(&Value::Bool(true)) && may_mention_room() {
        mentioned.push(ROOM_MENTION.to_owned());
    }
    mentioned.sort_unstable();
    mentioned.dedup();
    (!mentioned.is_empty()).then_some(mentioned)
}

/// Whether the default push rules notify members whom a message event does not mention.
fn notifies(event: &Event) -> bool {
    match event.event_type() {
        "m.room.message" => !is_notice(event) && relation(event.content(), "m.replace").is_none(),
        "m.room.encrypted" => relation(event.content(), "m.replace").is_none(),
        "m.call.invite" => true,
        _ => false,
    }
}

fn is_notice(event: &Event) -> bool {
    event.event_type() == "m.room.message"
        && event.content().get("msgtype").and_then(Value::as_str) == Some("m.notice")
}

/// The id of the event that a content relates to with this `rel_type`.
fn relation<'c>(content: &'c Map, rel_type: &str) -> Option<&'c str> {
    let relates_to = content.get("m.relates_to")?;
    let is_type = relates_to.get("rel_type").and_then(Value::as_str) == Some(rel_type);
    if is_type { relates_to.get("event_id")?.as_str() } else { None }
}

#[cfg(test)]
mod tests;
