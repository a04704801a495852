//! The event format: the first check of a PDU.
//!
//! Spec: "Event format" of each room version, [size
//! limits](https://spec.matrix.org/v1.19/client-server-api/#size-limits), and check 1 of the [checks
//! performed on receipt of a
//! PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu).

use serde_json::Value;

use crate::{
    Map, RoomVersion,
    canonical_json::{self, CanonicalJsonError},
    identifiers::{MAX_ID_BYTES, is_user_id},
    json::ExactRef,
};

/// The greatest size of an event as canonical JSON, with signatures, in bytes.
pub const MAX_PDU_BYTES: usize = 65_536;
/// The greatest number of `prev_events`.
pub const MAX_PREV_EVENTS: usize = 20;
/// The greatest number of `auth_events`.
pub const MAX_AUTH_EVENTS: usize = 10;

/// What is wrong with an event's format. The names are the event's fields.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// The whole event is too large.
    #[error("the event has {0} bytes, the limit is {MAX_PDU_BYTES}")]
    TooLarge(usize),
    /// A required field is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A field has the wrong type or a value that is not allowed.
    #[error("`{0}` is malformed")]
    Malformed(&'static str),
    /// An identifier, the type or the state key is too long.
    #[error("`{0}` is longer than {MAX_ID_BYTES} bytes")]
    TooLong(&'static str),
    /// Too many `prev_events` or `auth_events`.
    #[error("`{0}` has too many entries")]
    TooMany(&'static str),
    /// A number that the room version does not allow.
    #[error(transparent)]
    NotCanonical(#[from] CanonicalJsonError),
}

/// Checks the format of a PDU. One that fails must be dropped.
///
/// Returns the event's canonical JSON, which is needed to measure its size.
pub fn check_pdu_format<'a>(
    version: &RoomVersion,
    event: impl Into<ExactRef<'a>>,
) -> Result<String, FormatError> {
    let exact = event.into();
    let event = exact.object;
    if version.strict_canonical_json {
        canonical_json::check_object(event)?;
    }
    let is_create = string(event, "type")? == "m.room.create";
    if !is_user_id(string(event, "sender")?) {
        return Err(FormatError::Malformed("sender"));
    }
    // If a create event must not have a `room_id` but does, the authorization rules reject it.
    if (!is_create || !version.room_id_is_create_event_id || event.contains_key("room_id"))
        && !string(event, "room_id")?.starts_with('!')
    {
        return Err(FormatError::Malformed("room_id"));
    }
    if event.contains_key("state_key") {
        string(event, "state_key")?;
    }
    if version.event_id_in_event() && !string(event, "event_id")?.starts_with('$') {
        return Err(FormatError::Malformed("event_id"));
    }
    for field in ["content", "hashes", "signatures"] {
        if !required(event, field)?.is_object() {
            return Err(FormatError::Malformed(field));
        }
    }
    references(version, event, "prev_events", MAX_PREV_EVENTS)?;
    references(version, event, "auth_events", MAX_AUTH_EVENTS)?;
    if integer(event, "depth")? < 0 {
        return Err(FormatError::Malformed("depth"));
    }
    integer(event, "origin_server_ts")?;

    let canonical = canonical_json::object_to_canonical_lenient(exact);
    if canonical.len() > MAX_PDU_BYTES {
        return Err(FormatError::TooLarge(canonical.len()));
    }
    Ok(canonical)
}

fn required<'a>(event: &'a Map, field: &'static str) -> Result<&'a Value, FormatError> {
    event.get(field).ok_or(FormatError::Missing(field))
}

/// A required string of at most [`MAX_ID_BYTES`].
fn string<'a>(event: &'a Map, field: &'static str) -> Result<&'a str, FormatError> {
    let string = required(event, field)?.as_str().ok_or(FormatError::Malformed(field))?;
    if string.len() > MAX_ID_BYTES {
        return Err(FormatError::TooLong(field));
    }
    Ok(string)
}

fn integer(event: &Map, field: &'static str) -> Result<i64, FormatError> {
    required(event, field)?.as_i64().ok_or(FormatError::Malformed(field))
}

/// Checks an array of event ids, or of pairs of an event id and an object of hashes.
fn references(
    version: &RoomVersion,
    event: &Map,
    field: &'static str,
    limit: usize,
) -> Result<(), FormatError> {
    let references = required(event, field)?.as_array().ok_or(FormatError::Malformed(field))?;
    if references.len() > limit {
        return Err(FormatError::TooMany(field));
    }
    let well_formed = |reference: &Value| match reference {
        Value::String(_) => !version.event_id_in_event(),
        Value::Array(pair) => {
            version.event_id_in_event() && matches!(pair.as_slice(), [Value::String(_), Value::Object(_)])
        }
        _ => false,
    };
    if references.iter().all(well_formed) { Ok(()) } else { Err(FormatError::Malformed(field)) }
}

#[cfg(test)]
mod tests;
