//! Fields of an event that have no column, parsed as the authorization rules parse them: `jsonb` does not
//! accept all events.

use matriarch_rules::{Event, Map, json::parse_object};
use pgrx::{iter::TableIterator, name, pg_extern};

/// The `state_key`, `prev_events` and `auth_events` of a stored event. Empty if `json` is no event.
#[pg_extern(immutable, parallel_safe)]
fn event_fields(
    json: &str,
) -> TableIterator<
    'static,
    (name!(state_key, Option<String>), name!(prev_events, Vec<String>), name!(auth_events, Vec<String>)),
> {
    let event = Event::new("$", parse_object(json).unwrap_or_else(|_| Map::new()));
    TableIterator::once((
        event.state_key().map(as_text),
        event.prev_events().map(as_text).collect(),
        event.auth_events().map(as_text).collect(),
    ))
}

/// A string as PostgreSQL's `text` can hold it: without U+0000.
fn as_text(string: &str) -> String {
    string.replace('\0', "\u{fffd}")
}
