//! What is computed of an event once, when it is appended: whether it notifies, whom it mentions, its thread.

use matriarch_rules::{Event, Map, identifiers::is_user_id};
use serde_json::Value;

use crate::{
    response::{MatrixError, Result},
    room::{Room, parse_stored},
};

/// The derived columns of `events`.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    pub notifies: bool,
    pub mentions: Option<Vec<String>>,
    pub thread_root_nid: Option<i64>,
}

/// A highlight for everybody in the room, in `events.mentions`.
const ROOM_MENTION: &str = "@room";

const THREAD_ROOT: &str = "select event_nid, json from events where event_id = $1 and room_nid = $2";

impl Room<'_> {
    /// # Errors
    ///
    /// 400 `M_UNKNOWN` for a thread on an event that relates to another itself (Client-Server API, "Validation of
    /// m.thread relationships").
    pub(super) fn annotate(&mut self, event: &Event) -> Result<Annotations> {
        if event.is_state() {
            // `.m.rule.tombstone` highlights for everybody.
            let notifies = event.event_type() == "m.room.tombstone" && event.state_key() == Some("");
            let mentions = notifies.then(|| vec![ROOM_MENTION.to_owned()]);
            return Ok(Annotations { notifies, mentions, thread_root_nid: None });
        }
        let content = event.content();
        let thread_root_nid = match relation(content, "m.thread") {
            Some(root) => self.thread_root(root)?,
            None => None,
        };
        Ok(Annotations { notifies: notifies(event), mentions: self.mentions(event), thread_root_nid })
    }

    fn thread_root(&self, event_id: &str) -> Result<Option<i64>> {
        if event_id.contains('\0') {
            return Ok(None);
        }
        let Some(row) = self.db.query_opt(THREAD_ROOT, &[event_id.into(), self.nid.into()]) else {
            return Ok(None);
        };
        let root = parse_stored(&row.get::<String>(2));
        if root.get("content").and_then(|content| content.get("m.relates_to")?.get("rel_type")).is_some() {
            let error = "A thread cannot start at an event that relates to another.";
            return Err(MatrixError::new(400, "M_UNKNOWN", error));
        }
        Ok(Some(row.get(1)))
    }

    /// Whom the event mentions: user ids, and [`ROOM_MENTION`] if the sender may.
    fn mentions(&mut self, event: &Event) -> Option<Vec<String>> {
        // `.m.rule.suppress_notices` stands before the rules on mentions.
        if is_notice(event) {
            return None;
        }
        let mentions = event.content().get("m.mentions")?.as_object()?;
        let user_ids = mentions.get("user_ids").and_then(Value::as_array).into_iter().flatten();
        let mut mentioned: Vec<String> =
            user_ids.filter_map(Value::as_str).filter(|id| is_user_id(id)).map(str::to_owned).collect();
        if mentions.get("room") == Some(&Value::Bool(true)) && self.may_mention_room(event.sender()) {
            mentioned.push(ROOM_MENTION.to_owned());
        }
        mentioned.sort_unstable();
        mentioned.dedup();
        (!mentioned.is_empty()).then_some(mentioned)
    }

    fn may_mention_room(&mut self, user_id: &str) -> bool {
        let allowed = self.power_levels(|levels| {
            matches!(
                (levels.user_level(user_id), levels.notification_level("room")),
                (Ok(level), Ok(required)) if level.reaches(required)
            )
        });
        allowed.unwrap_or(false)
    }
}

/// Whether the default push rules notify members of a message event that does not mention them.
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

/// The event that a content relates to by this `rel_type`.
fn relation<'c>(content: &'c Map, rel_type: &str) -> Option<&'c str> {
    let relates_to = content.get("m.relates_to")?;
    let is_type = relates_to.get("rel_type").and_then(Value::as_str) == Some(rel_type);
    if is_type { relates_to.get("event_id")?.as_str() } else { None }
}
