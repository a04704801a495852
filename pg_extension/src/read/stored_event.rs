//! Events as they are stored, with what readers look at taken out of their JSON, loaded once in a call.

use std::{borrow::Cow, cell::RefCell, collections::HashMap, ops::Range, rc::Rc};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    base::spi::{Db, Row, Xid},
    room::state_at::StateAt,
};

/// A row of `events`.
#[derive(Debug)]
pub struct StoredEvent {
    pub event_nid: i64,
    /// Absent outside the timeline.
    pub pos: Option<i64>,
    /// Milliseconds since 1970.
    pub origin_server_ts: i64,
    /// A root of the state trie; absent when unknown.
    pub state_before: Option<i64>,
    /// The room's state once the event was in, where other branches make it differ from the state after the event.
    pub room_root: Option<i64>,
    pub redacted_by: Option<i64>,
    pub device_nid: Option<i64>,
    pub xid: Xid,
    /// Present for state events.
    pub key_idx: Option<i32>,
    pub event_id: String,
    pub event_type: String,
    pub txn_id: Option<String>,
    /// As signed.
    pub json: String,
    pub sender: String,
    pub state_key: Option<String>,
    /// The top level's `redacts`, where rooms before version 11 have it.
    pub redacts: Option<String>,
    /// Whether the JSON names the event's id, as room versions 1 and 2 have it.
    pub names_id: bool,
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
    /// Anything, in events that are no redactions.
    #[serde(borrow)]
    redacts: Option<&'j RawValue>,
    event_id: Option<IgnoredAny>,
}

impl StoredEvent {
    /// Reads the columns `event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
    /// event_id, type, txn_id, json, room_root`.
    ///
    /// # Panics
    ///
    /// If the stored JSON is not an event.
    pub fn read(row: &Row<'_>) -> Self {
        let json: String = row.get("json");
        let event_id: String = row.get("event_id");
        let fields: Fields<'_> = serde_json::from_str(&json)
            .unwrap_or_else(|error| panic!("the stored event {event_id} is not one: {error}"));
        let start = fields.content.get().as_ptr() as usize - json.as_ptr() as usize;
        let content = start..start + fields.content.get().len();
        Self {
            event_nid: row.get("event_nid"),
            pos: row.opt("pos"),
            origin_server_ts: row.get("origin_server_ts"),
            state_before: row.opt("state_before"),
            room_root: row.opt("room_root"),
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
            content,
            json,
        }
    }

    /// The state before the event, if known.
    pub fn before(&self) -> Option<StateAt> {
        self.state_before.map(StateAt::root)
    }

    /// The room's state once the event, which is of the timeline, was in, if known: the state after it, or what that and
    /// other branches resolved to.
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

    /// `depth`, as the sender's server claims; 0 if it has none.
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

    /// Whether it is a state event of this type and key.
    pub fn is(&self, event_type: &str, state_key: &str) -> bool {
        self.event_type == event_type && self.state_key.as_deref() == Some(state_key)
    }

    /// Whether it is a member event of this user.
    pub fn is_member(&self, user_id: &str) -> bool {
        self.is("m.room.member", user_id)
    }
}

const LOAD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root
    from events
    where event_nid = any($1)";

/// The events that a call has read.
pub struct Events<'d, 'c> {
    db: &'d Db<'c>,
    by_nid: RefCell<HashMap<i64, Rc<StoredEvent>>>,
    /// What member events say, also of some that were not read.
    memberships: RefCell<HashMap<i64, Rc<str>>>,
}

impl<'d, 'c> Events<'d, 'c> {
    pub fn new(db: &'d Db<'c>) -> Self {
        Self { db, by_nid: RefCell::default(), memberships: RefCell::default() }
    }

    /// Takes in an event that a query returned.
    pub fn keep(&self, event: StoredEvent) -> Rc<StoredEvent> {
        let event = Rc::new(event);
        self.by_nid.borrow_mut().insert(event.event_nid, Rc::clone(&event));
        event
    }

    /// Reads those that were not read yet, in one query.
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

    /// An event by its nid, from memory or the database.
    ///
    /// # Panics
    ///
    /// If there is none: state and redactions name stored events only.
    pub fn get(&self, nid: i64) -> Rc<StoredEvent> {
        let known = || self.by_nid.borrow().get(&nid).cloned();
        known().unwrap_or_else(|| {
            self.load([nid]);
            known().unwrap_or_else(|| panic!("no event {nid}"))
        })
    }

    /// Notes what a member event says, so that it need not be read.
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
