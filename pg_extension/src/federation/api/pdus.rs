//! Events in the form in which servers exchange them.

use std::{
    borrow::Cow,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use matriarch_rules::{
    RoomVersion,
    json_text::{Object, object_text},
    redaction::redact_exactly,
};

use super::server_reader::{self, ServerReader};
use crate::{
    base::{connection::connect, spi::Db},
    read::{
        erasures,
        stored_event::{Events, StoredEvent},
    },
    room::{Room, parse_exactly},
};

/// The number of events that are read at a time. It bounds the memory.
const CHUNK: usize = 1_000;

const JSON: &str = "
    select e.json
    from unnest($1) as wanted (event_nid)
    cross join lateral (select json from events where event_nid = wanted.event_nid offset 0) e";

/// Events for the origin. Those that it may not see, and those of erased users from before it joined, are
/// redacted, so that it still gets the whole graph.
pub fn for_server(room: &mut Room<'_>, origin: &str, events: &Events<'_, '_>, nids: &[i64]) -> Vec<String> {
    let version = room.version;
    events.load(nids.iter().copied());
    let mut part: Vec<Rc<StoredEvent>> = nids.iter().map(|nid| events.get(*nid)).collect();
    server_reader::prepare(room, &part);
    let (db, room_nid) = (room.db, room.nid);
    let reader = ServerReader::new(room, origin);
    erasures::redact(db, room_nid, &mut part, |root| reader.was_joined(events, root));
    part.iter()
        .map(
            |event| {
                if reader.sees(events, event) { event.json.clone() } else { redacted(version, &event.json) }
            },
        )
        .collect()
}

fn redacted(version: &RoomVersion, json: &str) -> String {
    redact_exactly(version, parse_exactly(json)).to_canonical()
}

/// PDUs as a response in the form of a federation transaction.
pub fn transaction<T: AsRef<str>>(origin: &str, pdus: impl IntoIterator<Item = T>) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    object_text(|body| {
        body.value("origin", origin).value("origin_server_ts", now as u64).array("pdus", pdus);
    })
}

/// Adds an array of the events to an object.
pub fn write(db: &Db<'_>, object: &mut Object<'_>, key: &str, nids: &[i64]) {
    let chunks = nids.chunks(CHUNK).flat_map(|chunk| {
        // A connection per chunk frees the memory of its query.
        connect(db.mode(), |db| {
            db.query(JSON, &[chunk.to_vec().into()]).map(|row| row.get::<String>("json")).collect::<Vec<_>>()
        })
    });
    object.array(key, chunks.map(Cow::Owned::<'_, str>));
}
