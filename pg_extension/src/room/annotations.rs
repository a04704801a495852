//! The columns of `events` that are computed when an event is stored: whether it notifies, the users it
//! mentions, and its thread.

use matriarch_rules::{Event, Map, identifiers::is_user_id, power_levels::PowerLevels};
use serde_json::Value;

use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    room::{Room, parse_stored},
};

/// The computed columns of `events`.
#[derive(Debug, Default)]
pub(crate) struct Annotations {
    pub notifies: bool,
    pub mentions: Option<Vec<String>>,
    pub thread_root_nid: Option<i64>,
}

/// The entry in `events.mentions` that stands for all members.
const ROOM_MENTION: &str = "@room";

const THREAD_ROOT: &str = "select event_nid, json from events where event_id = $1 and room_nid = $2";

impl Room<'_> {
    /// Computes the annotations of an event that is about to be appended.
    ///
    /// # Errors
    ///
    /// As [`thread_root`].
    pub(crate) fn annotate(&mut self, event: &Event) -> Result<Annotations> {
        if relation(event.content(), "m.thread").is_some() {
            self.write_events();
        }
        let thread_root_nid = thread_root(self.db, self.nid, event)?;
        let annotations = Annotations::of(event, || self.may_mention_room(event.sender()));
        Ok(Annotations { thread_root_nid, ..annotations })
    }

    fn may_mention_room(&mut self, user_id: &str) -> bool {
        self.power_levels(|levels| may_mention_room(levels, user_id)).unwrap_or(false)
    }
}

impl Annotations {
    /// The annotations that need only the event. `may_mention_room` is called only if the event mentions the
    /// room.
    pub(crate) fn of(event: &Event, may_mention_room: impl FnOnce() -> bool) -> Self {
        if event.is_state() {
            // `.m.rule.tombstone` highlights for everybody.
            let notifies = event.event_type() == "m.room.tombstone" && event.state_key() == Some("");
            let mentions = notifies.then(|| vec![ROOM_MENTION.to_owned()]);
            return Self { notifies, mentions, thread_root_nid: None };
        }
        Self { notifies: notifies(event), mentions: mentions(event, may_mention_room), thread_root_nid: None }
    }
}

/// The nid of the root of the event's thread, if the root is in the room.
///
/// # Errors
///
/// 400 `M_UNKNOWN` if the root relates to another event itself (Client-Server API, "Validation of m.thread
/// relationships").
pub(crate) fn thread_root(db: &Db<'_>, room_nid: i64, event: &Event) -> Result<Option<i64>> {
    let root = if event.is_state() { None } else { relation(event.content(), "m.thread") };
    let Some(event_id) = root.filter(|event_id| !event_id.contains('\0')) else { return Ok(None) };
    let Some(row) = db.query_opt(THREAD_ROOT, &[event_id.into(), room_nid.into()]) else {
        return Ok(None);
    };
    let root = parse_stored(&row.get::<String>("json"));
    if root.get("content").and_then(|content| content.get("m.relates_to")?.get("rel_type")).is_some() {
        let error = "A thread cannot start at an event that relates to another.";
        return Err(MatrixError::new(400, "M_UNKNOWN", error));
    }
    Ok(Some(row.get("event_nid")))
}

/// Whether the user's power level allows notifying the whole room.
pub(crate) fn may_mention_room(levels: &PowerLevels<'_>, user_id: &str) -> bool {
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
