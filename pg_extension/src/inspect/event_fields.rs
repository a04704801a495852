//! Fields of an event that no column has, read from its JSON as the rules read it: `jsonb` takes less.

use matriarch_rules::{Event, Map, json::parse_object};
use pgrx::{iter::TableIterator, name, pg_extern};

/// The state key, the `prev_events` and the `auth_events` of a stored event. Empty for what is not an event.
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

/// What PostgreSQL's `text` can hold of a string.
fn as_text(string: &str) -> String {
    string.replace('\0', "\u{fffd}")
}
