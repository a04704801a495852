//! Events as the authorization rules read them: parsed, with their auth events and `key_idx`. A call reads
//! each once.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use matriarch_rules::{Event, Map, json::parse_pdu};
use pgrx::check_for_interrupts;

use crate::{
    base::spi::{Db, Row},
    room::parse_stored,
};

/// The values of `events.status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Accepted,
    SoftFailed,
    Rejected,
    /// Accepted by its auth events. The state before it is unknown.
    Outlier,
}

impl Status {
    /// The number in `events.status`.
    pub fn code(self) -> i16 {
        match self {
            Self::Accepted => 0,
            Self::SoftFailed => 1,
            Self::Rejected => 2,
            Self::Outlier => 3,
        }
    }

    /// The status of a number in `events.status`.
    ///
    /// # Panics
    ///
    /// If the number is no status.
    pub fn of_code(code: i16) -> Self {
        match code {
            0 => Self::Accepted,
            1 => Self::SoftFailed,
            2 => Self::Rejected,
            3 => Self::Outlier,
            _ => panic!("{code} is not the status of an event"),
        }
    }

    /// The name in `matrix.events.status`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoftFailed => "soft-failed",
            Self::Rejected => "rejected",
            Self::Outlier => "outlier",
        }
    }
}

/// An event with what its row says of the graph.
#[derive(Debug, Clone)]
pub struct GraphEvent {
    pub nid: i64,
    pub room_nid: i64,
    pub event: Rc<Event>,
    pub status: Status,
    /// Set for state events that are not rejected.
    pub key_idx: Option<i32>,
    /// The auth events that the event cites. In room versions whose room id is made of the create event, that
    /// event is not cited.
    pub auth_nids: Vec<i64>,
    /// The previous events that are in the graph.
    pub prev_nids: Vec<i64>,
    /// The root of the state before the event. `None` if unknown.
    pub state_before: Option<i64>,
    /// Whether an accepted event follows this soft-failed or rejected one, directly or through others that
    /// are not accepted.
    pub superseded: bool,
}

impl GraphEvent {
    /// Whether the event is in the graph. Outliers are not, and neither are outliers that were rejected.
    pub fn is_in_graph(&self) -> bool {
        match self.status {
            Status::Accepted | Status::SoftFailed => true,
            Status::Rejected => self.state_before.is_some(),
            Status::Outlier => false,
        }
    }
}

const COLUMNS_BY_NID: &str = "
    select e.event_nid, e.room_nid, e.event_id, e.json, e.status, e.key_idx, e.auth_nids, e.prev_nids,
        e.state_before, e.superseded
    from unnest($1) as wanted (event_nid)
    cross join lateral (select * from events where event_nid = wanted.event_nid offset 0) e";

const COLUMNS_BY_ID: &str = "
    select e.event_nid, e.room_nid, e.event_id, e.json, e.status, e.key_idx, e.auth_nids, e.prev_nids,
        e.state_before, e.superseded
    from unnest($1) as wanted (event_id)
    cross join lateral (select * from events where event_id = wanted.event_id offset 0) e";

/// The events that a call has read or made.
pub struct GraphEvents<'d, 'c> {
    db: &'d Db<'c>,
    by_nid: RefCell<HashMap<i64, Rc<GraphEvent>>>,
    by_id: RefCell<HashMap<String, i64>>,
    /// Whether missing and damaged events are read as empty ones.
    tolerant: bool,
}

impl<'d, 'c> GraphEvents<'d, 'c> {
    pub fn new(db: &'d Db<'c>) -> Self {
        Self { db, by_nid: RefCell::default(), by_id: RefCell::default(), tolerant: false }
    }

    /// Reads missing and damaged events as empty, rejected ones.
    pub fn tolerant(db: &'d Db<'c>) -> Self {
        Self { tolerant: true, ..Self::new(db) }
    }

    /// Adds an event, or replaces the event of the same nid.
    pub fn keep(&self, event: GraphEvent) -> Rc<GraphEvent> {
        let event = Rc::new(event);
        self.by_id.borrow_mut().insert(event.event.event_id().to_owned(), event.nid);
        self.by_nid.borrow_mut().insert(event.nid, Rc::clone(&event));
        event
    }

    fn read(&self, row: &Row<'_>) {
        let event_id: String = row.get("event_id");
        let status = Status::of_code(row.get("status"));
        let json: String = row.get("json");
        // Inspection hashes what it reads.
        let json =
            if self.tolerant { parse_pdu(&json).unwrap_or_default() } else { parse_stored(&json).into() };
        let event = Event::new(event_id, json);
        self.keep(GraphEvent {
            nid: row.get("event_nid"),
            room_nid: row.get("room_nid"),
            event: Rc::new(event.with_rejected(status == Status::Rejected)),
            status,
            key_idx: row.opt("key_idx"),
            auth_nids: row.get("auth_nids"),
            prev_nids: row.get("prev_nids"),
            state_before: row.opt("state_before"),
            superseded: row.get("superseded"),
        });
    }

    /// Forgets an event whose row was changed. Its id stays known.
    pub fn forget(&self, nid: i64) {
        self.by_nid.borrow_mut().remove(&nid);
    }

    /// Reads the events that are not loaded yet, in one query.
    pub fn load(&self, nids: impl IntoIterator<Item = i64>) {
        let mut missing: Vec<i64> = {
            let known = self.by_nid.borrow();
            nids.into_iter().filter(|nid| !known.contains_key(nid)).collect()
        };
        if missing.is_empty() {
            return;
        }
        missing.sort_unstable();
        missing.dedup();
        for row in self.db.query(COLUMNS_BY_NID, &[missing.into()]) {
            self.read(&row);
        }
    }

    /// Reads events by their ids, in one query. Ids that do not exist stay unknown.
    pub fn load_ids<'i>(&self, ids: impl IntoIterator<Item = &'i str>) {
        let mut missing: Vec<&str> = {
            let known = self.by_id.borrow();
            // `text` cannot hold U+0000, so no event has such an id.
            ids.into_iter().filter(|id| !known.contains_key(*id) && !id.contains('\0')).collect()
        };
        if missing.is_empty() {
            return;
        }
        missing.sort_unstable();
        missing.dedup();
        for row in self.db.query(COLUMNS_BY_ID, &[missing.into()]) {
            self.read(&row);
        }
    }

    /// An event by its nid; it is loaded if necessary.
    ///
    /// # Panics
    ///
    /// If it does not exist: states and edges name stored events only.
    pub fn get(&self, nid: i64) -> Rc<GraphEvent> {
        check_for_interrupts!();
        let known = || self.by_nid.borrow().get(&nid).cloned();
        known().unwrap_or_else(|| {
            self.load([nid]);
            known().unwrap_or_else(|| {
                if self.tolerant { self.keep(absent(nid)) } else { panic!("no event {nid}") }
            })
        })
    }

    /// An event by its id, if it is loaded.
    pub fn by_id(&self, event_id: &str) -> Option<Rc<GraphEvent>> {
        let nid = self.by_id.borrow().get(event_id).copied()?;
        Some(self.get(nid))
    }
}

/// The stand-in for a missing event.
fn absent(nid: i64) -> GraphEvent {
    GraphEvent {
        nid,
        room_nid: 0,
        event: Rc::new(Event::new(format!("event_nid {nid}"), Map::new()).with_rejected(true)),
        status: Status::Rejected,
        key_idx: None,
        auth_nids: Vec::new(),
        prev_nids: Vec::new(),
        state_before: None,
        superseded: false,
    }
}
