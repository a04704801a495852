//! Renders events for clients. Client-Server API, "Room event format" and `unsigned`.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use matriarch_rules::{
    filter::{EventFormat, Filter},
    json_text::Object,
    room_version,
};
use serde_json::{Map, Value};

use crate::{
    base::spi::Db,
    read::{
        stored_event::{Events, StoredEvent},
        visibility::{self, Reader},
    },
    room::redaction::REDACTION,
    trie,
};

/// For which device, and in which format, an event is rendered.
#[derive(Clone, Copy)]
pub struct Style<'a> {
    /// The device that gets the event. It is told the transaction ids of events that it sent.
    pub device_nid: i64,
    /// `None` for endpoints that have no such filter.
    pub filter: Option<&'a Filter>,
}

/// Renders the events of a call. The part of an event that is equal for all readers is rendered once.
pub struct Renderer<'e, 'd, 'c> {
    db: &'d Db<'c>,
    events: &'e Events<'d, 'c>,
    /// Milliseconds since the Unix epoch.
    now: i64,
    /// `None` in a sync, where events have no `room_id`.
    room_id: Option<String>,
    /// The parts of events that are equal for all readers, by `event_nid`, whether it is a redacted copy, and
    /// whether the reader sees the redaction of the event.
    begun: RefCell<HashMap<(i64, bool, bool), Rc<str>>>,
}

const VERSION: &str = "
    select r.room_version
    from events e
    join rooms r on r.room_nid = e.room_nid
    where e.event_nid = $1";

impl<'e, 'd, 'c> Renderer<'e, 'd, 'c> {
    /// Renders events with this `room_id`, or without one.
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

    /// Reads everything that is needed to render these events, for all readers at once.
    pub fn prepare(&self, jobs: &[(&Reader, &[Rc<StoredEvent>])]) {
        let all = || jobs.iter().flat_map(|(_, part)| part.iter());
        trie::prefetch(self.db, all().filter_map(|event| event.state_before));
        let replaced = |event: &Rc<StoredEvent>| self.replaced_nid(event);
        let related = |event: &Rc<StoredEvent>| event.redacted_by.into_iter().chain(replaced(event));
        self.events.load(all().flat_map(related));
        let related: Vec<(&Reader, Vec<Rc<StoredEvent>>)> = jobs
            .iter()
            .map(|(reader, part)| {
                (*reader, part.iter().flat_map(related).map(|nid| self.events.get(nid)).collect())
            })
            .collect();
        visibility::prepare(self.db, self.events, jobs);
        let related: Vec<(&Reader, &[Rc<StoredEvent>])> =
            related.iter().map(|(reader, part)| (*reader, part.as_slice())).collect();
        visibility::prepare(self.db, self.events, &related);
    }

    /// The state event that this state event replaced.
    fn replaced_nid(&self, event: &StoredEvent) -> Option<i64> {
        trie::get(self.db, event.state_before?, event.key_idx?)
    }

    /// Renders an event of a timeline, with all keys of `unsigned`.
    pub fn event(&self, event: &StoredEvent, reader: &Reader, style: Style<'_>) -> String {
        let mut text = self.begin(event, Some(reader), style).to_string();
        let mut more = Object::reopen(&mut text);
        if let Some(membership) = reader.membership_at(self.db, self.events, event) {
            more.value("membership", &*membership);
        }
        self.write_replaced(&mut more, event, reader);
        if event.device_nid == Some(style.device_nid)
            && let Some(txn_id) = &event.txn_id
        {
            more.value("transaction_id", txn_id);
        }
        finish(text, style)
    }

    /// Renders an event of a list of state. `unsigned` has only `age` and `redacted_because`. Without a
    /// reader it has no `redacted_because`.
    pub fn state_event(&self, event: &StoredEvent, reader: Option<&Reader>, style: Style<'_>) -> String {
        finish(self.begin(event, reader, style).to_string(), style)
    }

    /// Renders an event of a list of changed state. `unsigned` also tells what the event replaced:
    /// `prev_content`, `prev_sender` and `replaces_state`.
    pub fn changed_state_event(&self, event: &StoredEvent, reader: &Reader, style: Style<'_>) -> String {
        let mut text = self.begin(event, Some(reader), style).to_string();
        self.write_replaced(&mut Object::reopen(&mut text), event, reader);
        finish(text, style)
    }

    /// Writes the keys of `unsigned` about the state event that this one replaced. `prev_sender` is not in
    /// the specification; clients find out by it who invited the user into a direct chat.
    fn write_replaced(&self, unsigned: &mut Object<'_>, event: &StoredEvent, reader: &Reader) {
        let Some(replaced) = self.replaced_nid(event).map(|nid| self.events.get(nid)) else { return };
        if !event.is_copy && reader.sees_replaced(self.db, self.events, &replaced, event) {
            unsigned.raw("prev_content", replaced.content()).value("prev_sender", &replaced.sender);
        }
        unsigned.value("replaces_state", &replaced.event_id);
    }

    /// The part of the event that is equal for all readers who see its redaction, and for all others. It ends
    /// inside of `unsigned`, so `}}` is missing.
    fn begin(&self, event: &StoredEvent, reader: Option<&Reader>, style: Style<'_>) -> Rc<str> {
        let redaction = event.redacted_by.map(|nid| self.events.get(nid));
        // The reason may have been given after the reader left.
        let redaction = redaction
            .filter(|redaction| reader.is_some_and(|reader| reader.sees(self.db, self.events, redaction)));
        if style.filter.is_some_and(|filter| filter.event_format == EventFormat::Federation) {
            return self.begin_federation(event, redaction.as_deref()).into();
        }
        let key = (event.event_nid, event.is_copy, redaction.is_some());
        if let Some(begun) = self.begun.borrow().get(&key) {
            return Rc::clone(begun);
        }
        let begun: Rc<str> = self.begin_client(event, redaction.as_deref()).into();
        self.begun.borrow_mut().insert(key, Rc::clone(&begun));
        begun
    }

    fn begin_client(&self, event: &StoredEvent, redaction: Option<&StoredEvent>) -> String {
        let mut text = self.begin_bare(event);
        Object::reopen(&mut text).raw("unsigned", &self.begin_unsigned(event, redaction));
        text
    }

    /// The event in the format for clients without `unsigned`. The closing `}` is missing.
    fn begin_bare(&self, event: &StoredEvent) -> String {
        let mut text = String::with_capacity(event.json.len() + 128);
        let mut object = Object::open(&mut text);
        let (content, redacts) = self.redaction_fields(event);
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

    /// The event in the federation format, with the `event_id` and `unsigned` that a client needs.
    fn begin_federation(&self, event: &StoredEvent, redaction: Option<&StoredEvent>) -> String {
        let mut text = event.json.clone();
        // Removes the closing brace to add further keys.
        text.truncate(text.trim_end().len() - 1);
        let mut object = Object::reopen(&mut text);
        if !event.names_id {
            object.value("event_id", &event.event_id);
        }
        object.raw("unsigned", &self.begin_unsigned(event, redaction));
        text
    }

    /// The keys of `unsigned` that are equal for all readers who see this redaction.
    fn begin_unsigned(&self, event: &StoredEvent, redaction: Option<&StoredEvent>) -> String {
        let mut text = String::new();
        let mut unsigned = Object::open(&mut text);
        unsigned.value("age", self.age(event));
        if let Some(redaction) = redaction {
            // A redaction may itself be redacted; its own `redacted_because` is left out to end the chain.
            let mut because = self.begin_bare(redaction);
            let mut object = Object::reopen(&mut because);
            object.object("unsigned", |unsigned| {
                unsigned.value("age", self.age(redaction));
            });
            object.close();
            unsigned.raw("redacted_because", &because);
        }
        text
    }

    /// Clients get `redacts` of a redaction both at its top level and in its content, whatever the room
    /// version. Returns the content, if it must be changed, and the value of the top level.
    fn redaction_fields(&self, event: &StoredEvent) -> (Option<String>, Option<String>) {
        if event.event_type != REDACTION {
            return (None, None);
        }
        let in_content = event.content_str("redacts");
        match (&event.redacts, &in_content) {
            // The room version says which of two targets it is.
            (Some(redacts), Some(other)) if redacts != other && self.redacts_in_content(event) => {
                (None, in_content)
            }
            (Some(redacts), other) if Some(redacts) != other.as_ref() => {
                let mut content: Map<String, Value> =
                    serde_json::from_str(event.content()).unwrap_or_default();
                content.insert("redacts".to_owned(), redacts.as_str().into());
                (Some(Value::Object(content).to_string()), Some(redacts.clone()))
            }
            _ => (None, in_content),
        }
    }

    fn redacts_in_content(&self, event: &StoredEvent) -> bool {
        let row = self.db.query_opt(VERSION, &[event.event_nid.into()]);
        row.and_then(|row| room_version(&row.get::<String>("room_version")))
            .is_some_and(|version| version.redacts_in_content)
    }

    /// In milliseconds.
    fn age(&self, event: &StoredEvent) -> i64 {
        self.now.saturating_sub(event.origin_server_ts)
    }
}

/// Completes the text of [`Renderer::begin`] and applies the filter's `event_fields`.
fn finish(mut text: String, style: Style<'_>) -> String {
    text.push_str("}}");
    style.filter.and_then(|filter| filter.prune(&text)).unwrap_or(text)
}

/// Renders an event of stripped state. Client-Server API, "Stripped state".
pub fn stripped(event: &StoredEvent) -> String {
    matriarch_rules::json_text::object_text(|object| {
        object.raw("content", event.content());
        object.value("sender", &event.sender);
        object.value("state_key", event.state_key.as_deref().unwrap_or_default());
        object.value("type", &event.event_type);
    })
}
