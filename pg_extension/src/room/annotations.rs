//! The columns of `events` that are computed when an event is stored: whether it notifies, the users it
//! mentions, and its thread.

use matriarch_rules::{
    Event,
    notifications::{self, Notifications, may_mention_room},
};

use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    room::{Room, parse_stored},
};

/// The computed columns of `events`.
#[derive(Debug, Default)]
pub struct Annotations {
    pub notifications: Notifications,
    pub thread_root_nid: Option<i64>,
}

const THREAD_ROOT: &str = "select event_nid, json from events where event_id = $1 and room_nid = $2";

impl Room<'_> {
    /// Computes the annotations of an event that is about to be appended.
    ///
    /// # Errors
    ///
    /// As [`thread_root`].
    pub fn annotate(&mut self, event: &Event) -> Result<Annotations> {
        if notifications::thread_root(event).is_some() {
            self.write_events();
        }
        let thread_root_nid = thread_root(self.db, self.nid, event)?;
        let notifications = Notifications::of(event, || self.may_mention_room(event.sender()));
        Ok(Annotations { notifications, thread_root_nid })
    }

    fn may_mention_room(&mut self, user_id: &str) -> bool {
        self.power_levels(|levels| may_mention_room(levels, user_id)).unwrap_or(false)
    }
}

/// The nid of the root of the event's thread, if the root is in the room.
///
/// # Errors
///
/// 400 `M_UNKNOWN` if the root relates to another event itself (Client-Server API, "Validation of m.thread
/// relationships").
pub fn thread_root(db: &Db<'_>, room_nid: i64, event: &Event) -> Result<Option<i64>> {
    let root = notifications::thread_root(event);
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
