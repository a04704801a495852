//! Gaps in a room's timeline: they are before events whose `prev_events` are not all stored.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use crate::{
    base::spi::Db,
    read::{
        readable_room::ReadableRoom,
        stored_event::{Events, StoredEvent},
    },
};

const FIND: &str = "
    select wanted.event_nid, exists (
        select
        from history_gaps h
        where h.room_nid = $3 and h.event_id = wanted.event_id and h.next_try_at > now()
    ) as passed
    from unnest($1, $2) as wanted (event_nid, event_id)
    where exists (select from missing_prev_events m where m.event_nid = wanted.event_nid)";

const LACKING: &str = "
    select wanted.event_nid
    from unnest($1) as wanted (event_nid)
    where exists (select from missing_prev_events m where m.event_nid = wanted.event_nid)";

/// A gap before an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gap {
    /// Other servers can be asked for the missing events.
    Open,
    /// Other servers were asked a short time ago, and did not have the missing events.
    Unavailable,
}

/// The gaps before some events of a room.
#[derive(Debug, Default)]
pub struct Gaps {
    by_nid: HashMap<i64, Gap>,
}

impl Gaps {
    /// Finds the gaps before these events. Leaves out gaps whose missing events the room's reader may not
    /// see. Runs no query in a room without gaps.
    pub fn find(
        db: &Db<'_>,
        events: &Events<'_, '_>,
        room: &ReadableRoom,
        before: &[Rc<StoredEvent>],
    ) -> Self {
        if !room.has_gaps || before.is_empty() {
            return Self::default();
        }
        let nids: Vec<i64> = before.iter().map(|event| event.event_nid).collect();
        let ids: Vec<&str> = before.iter().map(|event| event.event_id.as_str()).collect();
        let unavailable: HashMap<i64, bool> = db
            .query(FIND, &[nids.into(), ids.into(), room.room_nid.into()])
            .map(|row| (row.get("event_nid"), row.get("passed")))
            .collect();
        let of_event = |event: &Rc<StoredEvent>| {
            let unavailable = *unavailable.get(&event.event_nid)?;
            let gap = if unavailable { Gap::Unavailable } else { Gap::Open };
            room.reader.may_see_before(db, events, event).then_some((event.event_nid, gap))
        };
        Self { by_nid: before.iter().filter_map(of_event).collect() }
    }

    /// The gap before an event, if there is one.
    pub fn before(&self, event: &StoredEvent) -> Option<Gap> {
        self.by_nid.get(&event.event_nid).copied()
    }
}

/// Those of the events whose previous events are not all stored.
pub fn lacking(db: &Db<'_>, event_nids: Vec<i64>) -> HashSet<i64> {
    if event_nids.is_empty() {
        return HashSet::new();
    }
    db.query(LACKING, &[event_nids.into()]).map(|row| row.get("event_nid")).collect()
}
