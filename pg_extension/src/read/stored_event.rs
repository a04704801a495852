//! Stored events, with the fields that readers need parsed from their JSON. A call reads each event once.

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Range,
    rc::Rc,
};

use matriarch_rules::{RoomVersion, redaction::redact_exactly};
use pgrx::check_for_interrupts;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    base::{
        response::MatrixError,
        spi::{Db, Row, Xid},
    },
    room::{parse_exactly, state_at::StateAt},
};

/// A row of `events`.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    pub event_nid: i64,
    /// `None` if the event is not in the timeline.
    pub pos: Option<i64>,
    /// Milliseconds since the Unix epoch.
    pub origin_server_ts: i64,
    /// The root of the state before; `None` if unknown.
    pub state_before: Option<i64>,
    /// The root of the current state just after the event was stored, where it differs from the state after
    /// the event because of other branches.
    pub room_root: Option<i64>,
    pub redacted_by: Option<i64>,
    /// Whether it is a redaction that clients do not get, because it has no effect.
    pub withheld: bool,
    pub device_nid: Option<i64>,
    pub xid: Xid,
    /// `None` for message events.
    pub key_idx: Option<i32>,
    pub event_id: String,
    pub event_type: String,
    pub txn_id: Option<String>,
    /// The event as it was signed, or as redaction left it.
    pub json: String,
    pub sender: String,
    pub state_key: Option<String>,
    /// `redacts` at the top level of a redaction, where it is before room version 11.
    pub redacts: Option<String>,
    /// Whether the JSON contains the event's id, as in room versions 1 and 2.
    pub names_id: bool,
    /// Whether this is the redacted copy of an event whose sender was erased.
    pub is_copy: bool,
    /// Where the content is in `json`.
    content: Range<usize>,
}

#[derive(Deserialize)]
struct Fields<'j> {
    #[serde(borrow)]
    content: &'j RawValue,
    #[serde(borrow)]
    sender: Cow<'j, str>,
    #[serde(borrow)]
    state_key: Option<Cow<'j, str>>,
    /// In events that are no redactions, this may be any JSON value.
    #[serde(borrow)]
    redacts: Option<&'j RawValue>,
    event_id: Option<IgnoredAny>,
}

impl StoredEvent {
    /// Reads the columns `event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid,
    /// key_idx, event_id, type, txn_id, json, room_root, withheld`.
    ///
    /// # Panics
    ///
    /// If the stored JSON is not an event.
    pub fn read(row: &Row<'_>) -> Self {
        let json: String = row.get("json");
        let event_id: String = row.get("event_id");
        let fields: Fields<'_> = serde_json::from_str(&json)
            .unwrap_or_else(|error| panic!("the stored event {event_id} is malformed: {error}"));
        let start = fields.content.get().as_ptr() as usize - json.as_ptr() as usize;
        let content = start..start + fields.content.get().len();
        Self {
            event_nid: row.get("event_nid"),
            pos: row.opt("pos"),
            origin_server_ts: row.get("origin_server_ts"),
            state_before: row.opt("state_before"),
            room_root: row.opt("room_root"),
            withheld: row.get("withheld"),
            redacted_by: row.opt("redacted_by"),
            device_nid: row.opt("device_nid"),
            xid: row.get("xid"),
            key_idx: row.opt("key_idx"),
            event_id,
            event_type: row.get("type"),
            txn_id: row.opt("txn_id"),
            sender: fields.sender.into_owned(),
            state_key: fields.state_key.map(Cow::into_owned),
            redacts: fields.redacts.and_then(|redacts| serde_json::from_str(redacts.get()).ok()),
            names_id: fields.event_id.is_some(),
            is_copy: false,
            content,
            json,
        }
    }

    /// The copy of this event for readers who get it redacted.
    pub fn redacted(&self, version: &RoomVersion) -> Self {
        let json = redact_exactly(version, parse_exactly(&self.json)).to_canonical();
        let content = content_range(&json);
        Self { content, json, redacts: None, is_copy: true, ..self.clone() }
    }

    /// The state before the event, if known.
    pub fn before(&self) -> Option<StateAt> {
        self.state_before.map(StateAt::root)
    }

    /// The room's state once the event, which is of the timeline, was in, if known: the state after it, or
    /// what that and other branches resolved to.
    pub fn after(&self) -> Option<StateAt> {
        if let Some(root) = self.room_root {
            return Some(StateAt::root(root));
        }
        let root = self.state_before?;
        Some(match self.key_idx {
            Some(key_idx) => StateAt::with(root, key_idx, self.event_nid),
            None => StateAt::root(root),
        })
    }

    /// The content as JSON text.
    pub fn content(&self) -> &str {
        &self.json[self.content.clone()]
    }

    /// `depth`, as the sender's server claims; 0 if it is missing or malformed.
    pub fn depth(&self) -> i64 {
        #[derive(Deserialize)]
        struct Depth {
            #[serde(default)]
            depth: i64,
        }
        serde_json::from_str::<Depth>(&self.json).map_or(0, |event| event.depth)
    }

    /// A string of the content's top level.
    pub fn content_str(&self, key: &str) -> Option<String> {
        let content: HashMap<Cow<'_, str>, &RawValue> = serde_json::from_str(self.content()).ok()?;
        serde_json::from_str(content.get(key)?.get()).ok()
    }

    /// Whether this is a state event with this `type` and `state_key`.
    pub fn is(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type == event_type && self.state_key.as_deref() == Some(state_key)
    }

    /// Whether this is a member event of the user.
    pub fn is_member(&self, user_id: &str) -> bool {
        self.is("m.room.member", user_id)
    }
}

/// Where the content is in the JSON text of an event; nowhere if there is none.
fn content_range(json: &str) -> Range<usize> {
    let Ok(Fields { content, .. }) = serde_json::from_str(json) else { return 0..0 };
    let start = content.get().as_ptr() as usize - json.as_ptr() as usize;
    start..start + content.get().len()
}

const LOAD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root, withheld
    from events
    where event_nid = any($1)";

/// The most bytes of events that a call reads. An answer is about as long, and PostgreSQL has no texts of
/// more than 1 GiB.
const MAX_BYTES: usize = 256 << 20;

/// The events that a call has read.
pub struct Events<'d, 'c> {
    db: &'d Db<'c>,
    bytes: Cell<usize>,
    by_nid: RefCell<HashMap<i64, Rc<StoredEvent>>>,
    /// The `membership` of member events, also of some that were not read.
    memberships: RefCell<HashMap<i64, Rc<str>>>,
}

impl<'d, 'c> Events<'d, 'c> {
    pub fn new(db: &'d Db<'c>) -> Self {
        let (by_nid, memberships) = (RefCell::default(), RefCell::default());
        Self { db, bytes: Cell::new(0), by_nid, memberships }
    }

    /// Keeps an event that a query returned. Ends the statement with 413 `M_TOO_LARGE` if the call has read
    /// too much.
    pub fn keep(&self, event: StoredEvent) -> Rc<StoredEvent> {
        self.bytes.set(self.bytes.get() + event.json.len());
        if self.bytes.get() > MAX_BYTES {
            MatrixError::too_large("The answer would be too long.").abort();
        }
        let event = Rc::new(event);
        self.by_nid.borrow_mut().insert(event.event_nid, Rc::clone(&event));
        event
    }

    /// Reads those of the events that were not read yet, in one query.
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
        for row in self.db.query(LOAD, &[missing.into()]) {
            self.keep(StoredEvent::read(&row));
        }
    }

    /// An event by its nid. Reads it if it was not read yet.
    ///
    /// # Panics
    ///
    /// If it does not exist. Callers have the nid from states and redactions, which refer only to stored
    /// events.
    pub fn get(&self, nid: i64) -> Rc<StoredEvent> {
        check_for_interrupts!();
        let known = || self.by_nid.borrow().get(&nid).cloned();
        known().unwrap_or_else(|| {
            self.load([nid]);
            known().unwrap_or_else(|| panic!("no event {nid}"))
        })
    }

    /// Remembers the `membership` of a member event, which then need not be read.
    pub fn note_membership(&self, nid: i64, membership: &str) {
        self.memberships.borrow_mut().entry(nid).or_insert_with(|| membership.into());
    }

    /// Whether [`Events::membership`] needs no query.
    pub fn knows_membership(&self, nid: i64) -> bool {
        self.memberships.borrow().contains_key(&nid) || self.by_nid.borrow().contains_key(&nid)
    }

    /// The `membership` of a member event.
    pub fn membership(&self, nid: i64) -> Rc<str> {
        if let Some(membership) = self.memberships.borrow().get(&nid) {
            return Rc::clone(membership);
        }
        let membership: Rc<str> = self.get(nid).content_str("membership").unwrap_or_default().into();
        self.memberships.borrow_mut().insert(nid, Rc::clone(&membership));
        membership
    }
}
