//! Events as clients get them. Client-Server API, "Room event format" and `unsigned`.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use crate::{
    base::{json_text::Object, spi::Db},
    read::{
        filter::{EventFormat, Filter},
        stored_event::{Events, StoredEvent},
        visibility::{self, Reader},
    },
    trie,
};

/// Who gets an event, and how they want it.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    /// Told the transaction ids of its own events.
    pub device_nid: i64,
    /// Absent for endpoints that have no such filter.
    pub filter: Option<&'a Filter>,
}

/// Renders the events of a call; what all readers of an event get alike is made once.
pub struct Renderer<'e, 'd, 'c> {
    db: &'d Db<'c>,
    events: &'e Events<'d, 'c>,
    /// Milliseconds since 1970.
    now: i64,
    /// Absent in a sync, where the room id stands elsewhere.
    room_id: Option<String>,
    begun: RefCell<HashMap<i64, Rc<str>>>,
}

impl<'e, 'd, 'c> Renderer<'e, 'd, 'c> {
    /// Renders events with the `room_id`, or, for `None`, without.
    pub fn new(db: &'d Db<'c>, events: &'e Events<'d, 'c>, room_id: Option<&str>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self {
            db,
            events,
            now: i64::try_from(now).unwrap_or(i64::MAX),
            room_id: room_id.map(str::to_owned),
            begun: RefCell::default(),
        }
    }

    /// Reads what rendering these events will need, for all readers at once.
    pub fn prepare(&self, jobs: &[(&Reader, &[Rc<StoredEvent>])]) {
        let all = || jobs.iter().flat_map(|(_, part)| part.iter());
        trie::prefetch(self.db, all().filter_map(|event| event.state_before));
        let replaced = |event: &Rc<StoredEvent>| self.replaced_nid(event);
        self.events.load(all().flat_map(|event| event.redacted_by.into_iter().chain(replaced(event))));
        let older: Vec<(&Reader, Vec<Rc<StoredEvent>>)> = jobs
            .iter()
            .map(|(reader, part)| {
                (*reader, part.iter().filter_map(replaced).map(|nid| self.events.get(nid)).collect())
            })
            .collect();
        visibility::prepare(self.db, self.events, jobs);
        let older: Vec<(&Reader, &[Rc<StoredEvent>])> =
            older.iter().map(|(reader, part)| (*reader, part.as_slice())).collect();
        visibility::prepare(self.db, self.events, &older);
    }

    /// The state event that a state event replaced.
    fn replaced_nid(&self, event: &StoredEvent) -> Option<i64> {
        trie::get(self.db, event.state_before?, event.key_idx?)
    }

    /// An event of a timeline, with all that `unsigned` tells.
    pub fn event(&self, event: &StoredEvent, reader: &Reader, style: Style<'_>) -> String {
        let replaced = self.replaced_nid(event).map(|nid| self.events.get(nid));
        let mut text = self.begin(event, style).to_string();
        let mut more = Object::reopen(&mut text);
        if let Some(membership) = reader.membership_at(self.db, self.events, event) {
            more.value("membership", &*membership);
        }
        if let Some(replaced) = replaced {
            if reader.sees(self.db, self.events, &replaced) {
                more.raw("prev_content", replaced.content());
            }
            more.value("replaces_state", &replaced.event_id);
        }
        if event.device_nid == Some(style.device_nid)
            && let Some(txn_id) = &event.txn_id
        {
            more.value("transaction_id", txn_id);
        }
        finish(text, style)
    }

    /// An event of a list of state, where `unsigned` tells its age and little more.
    pub fn state_event(&self, event: &StoredEvent, style: Style<'_>) -> String {
        finish(self.begin(event, style).to_string(), style)
    }

    /// The event up to the end of what is the same for all readers. `}}` is missing.
    fn begin(&self, event: &StoredEvent, style: Style<'_>) -> Rc<str> {
        if style.filter.is_some_and(|filter| filter.event_format == EventFormat::Federation) {
            return self.begin_federation(event).into();
        }
        if let Some(begun) = self.begun.borrow().get(&event.event_nid) {
            return Rc::clone(begun);
        }
        let begun: Rc<str> = self.begin_client(event).into();
        self.begun.borrow_mut().insert(event.event_nid, Rc::clone(&begun));
        begun
    }

    fn begin_client(&self, event: &StoredEvent) -> String {
        let mut text = self.begin_bare(event);
        Object::reopen(&mut text).raw("unsigned", &self.begin_unsigned(event));
        text
    }

    /// Without `unsigned`.
    fn begin_bare(&self, event: &StoredEvent) -> String {
        let mut text = String::with_capacity(event.json.len() + 128);
        let mut object = Object::open(&mut text);
        let (content, redacts) = redaction_fields(event);
        object.raw("content", content.as_deref().unwrap_or(event.content()));
        object.value("event_id", &event.event_id).value("origin_server_ts", event.origin_server_ts);
        if let Some(redacts) = redacts {
            object.value("redacts", redacts);
        }
        if let Some(room_id) = &self.room_id {
            object.value("room_id", room_id);
        }
        object.value("sender", &event.sender);
        if let Some(state_key) = &event.state_key {
            object.value("state_key", state_key);
        }
        object.value("type", &event.event_type);
        text
    }

    /// The event as servers exchange it, and what a client needs beside that.
    fn begin_federation(&self, event: &StoredEvent) -> String {
        let mut text = event.json.clone();
        // The object goes on after its last key.
        text.truncate(text.trim_end().len() - 1);
        let mut object = Object::reopen(&mut text);
        if !event.names_id {
            object.value("event_id", &event.event_id);
        }
        object.raw("unsigned", &self.begin_unsigned(event));
        text
    }

    /// What `unsigned` tells to everybody.
    fn begin_unsigned(&self, event: &StoredEvent) -> String {
        let mut text = String::new();
        let mut unsigned = Object::open(&mut text);
        unsigned.value("age", self.age(event));
        if let Some(redaction) = event.redacted_by {
            let redaction = self.events.get(redaction);
            // A redaction may be redacted too, and so on: the chain ends here.
            let mut because = self.begin_bare(&redaction);
            let mut object = Object::reopen(&mut because);
            object.object("unsigned", |unsigned| {
                unsigned.value("age", self.age(&redaction));
            });
            object.close();
            unsigned.raw("redacted_because", &because);
        }
        text
    }

    /// In milliseconds.
    fn age(&self, event: &StoredEvent) -> i64 {
        self.now.saturating_sub(event.origin_server_ts)
    }
}

/// Closes what [`Renderer::begin`] began.
fn finish(mut text: String, style: Style<'_>) -> String {
    text.push_str("}}");
    style.filter.and_then(|filter| filter.prune(&text)).unwrap_or(text)
}

/// A redaction tells what it redacts both at its top level and in its content, whatever the room version. Gives
/// the content, if it must be another, and the top-level key.
fn redaction_fields(event: &StoredEvent) -> (Option<String>, Option<String>) {
    if event.event_type != "m.room.redaction" {
        return (None, None);
    }
    match (&event.redacts, event.content_str("redacts")) {
        (Some(redacts), None) => {
            let mut content: Map<String, Value> = serde_json::from_str(event.content()).unwrap_or_default();
            content.insert("redacts".to_owned(), redacts.as_str().into());
            (Some(Value::Object(content).to_string()), Some(redacts.clone()))
        }
        (Some(redacts), Some(_)) => (None, Some(redacts.clone())),
        (None, redacts) => (None, redacts),
    }
}

/// Stripped state: what somebody outside the room is told of it. Client-Server API, "Stripped state".
pub fn stripped(event: &StoredEvent) -> String {
    crate::base::json_text::object_text(|object| {
        object.raw("content", event.content());
        object.value("sender", &event.sender);
        object.value("state_key", event.state_key.as_deref().unwrap_or_default());
        object.value("type", &event.event_type);
    })
}
