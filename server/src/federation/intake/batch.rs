//! A batch of events for intake, and the verdicts.

use std::collections::BTreeMap;

use axum::http::StatusCode;
pub use matriarch_wire::Kind;
use matriarch_wire::{GivenUp, Reports, States, Verdict};

use crate::base::error::ApiError;
use crate::database::MatrixResponse;

/// The most events and bytes that one statement receives.
pub const CHUNK_EVENTS: usize = 500;
pub const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Events of one room, in any order.
#[derive(Debug)]
pub struct Batch<'b> {
    pub room_id: &'b str,
    /// A room that is not stored is created.
    pub room_version: &'b str,
    pub kind: Kind,
    /// The servers to ask first for what is missing, in this order: usually the origin.
    pub servers: &'b [String],
    /// JSON texts.
    pub pdus: Vec<String>,
    /// Given states: event ids of the state before an event, by the event's id (from `send_join`).
    pub states: States,
}

/// The result of intake for one PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `None` if the PDU's format is not that of an event of the room.
    pub event_id: Option<String>,
    /// The verdict, which is never that it needs something; or why something that it needs could not be
    /// fetched.
    pub verdict: Result<Verdict, Unavailable>,
}

/// Reads an answer of `receive_pdus`.
pub fn read_answer(response: &MatrixResponse) -> Result<Reports, ApiError> {
    if response.status != StatusCode::OK {
        return Err(ApiError::new(response.status, "M_UNKNOWN", "The room takes in no events"));
    }
    response.read()
}

/// The `given_up` argument of `receive_pdus`, as JSON; `None` if nothing is given up.
pub fn given_up_json(given_up: &GivenUp) -> Result<Option<String>, ApiError> {
    if given_up.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(given_up).map(Some).map_err(|_| ApiError::internal())
}

/// Why something cannot be fetched, and whether a later attempt may succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    pub reason: String,
    pub later: bool,
}

/// What cannot be fetched, and why.
#[derive(Debug, Default)]
pub struct AllUnavailable {
    /// Events, by their ids.
    pub events: BTreeMap<String, Unavailable>,
    /// Signing keys, by the names of their servers.
    pub keys: BTreeMap<String, Unavailable>,
    /// States before events, by the events' ids.
    pub states: BTreeMap<String, Unavailable>,
}
