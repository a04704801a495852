//! Events that are to be taken into a room together, and what became of each.

use std::collections::BTreeMap;

use axum::http::StatusCode;
pub use matriarch_wire::Kind;
use matriarch_wire::{GivenUp, Reports, States, Verdict};

use crate::base::error::ApiError;
use crate::database::MatrixResponse;

/// Events, and bytes, that one statement takes in at most.
pub const CHUNK_EVENTS: usize = 500;
pub const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Events of one room, in any order.
#[derive(Debug)]
pub struct Batch<'b> {
    pub room_id: &'b str,
    /// A room that is not known is made.
    pub room_version: &'b str,
    pub kind: Kind,
    /// Whom to ask first for what is missing, in this order: the server that sent the events, mostly.
    pub servers: &'b [String],
    /// JSON texts.
    pub pdus: Vec<String>,
    /// The state before an event, as event ids by the event's id, where the caller has it from elsewhere (`send_join`).
    pub states: States,
}

/// A PDU that was taken in, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Absent for what is not an event of the room by its format.
    pub event_id: Option<String>,
    /// What became of it, which never is that it needs something; or that something it needs could not be
    /// had.
    pub verdict: Result<Verdict, Unavailable>,
}

/// Reads an answer of `receive_pdus`.
pub fn read_answer(response: &MatrixResponse) -> Result<Reports, ApiError> {
    if response.status != StatusCode::OK {
        return Err(ApiError::new(response.status, "M_UNKNOWN", "The room takes in no events"));
    }
    response.read()
}

/// What is given up as `receive_pdus` takes it, in JSON; `None` if it is nothing.
pub fn given_up_json(given_up: &GivenUp) -> Result<Option<String>, ApiError> {
    if given_up.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(given_up).map(Some).map_err(|_| ApiError::internal())
}

/// Why something cannot be had, and whether it may be had later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub reason: String,
    pub later: bool,
}

/// What cannot be had, and why.
#[derive(Debug, Default)]
pub struct AllUnavailable {
    /// Events, by their ids.
    pub events: BTreeMap<String, Unavailable>,
    /// Signing keys, by the names of their servers.
    pub keys: BTreeMap<String, Unavailable>,
    /// States, by the ids of the events that they are before.
    pub states: BTreeMap<String, Unavailable>,
}
