//! Events that are to be taken into a room together, and what became of each.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Deserialize;

use crate::base::error::ApiError;
use crate::database::MatrixResponse;

/// Events, and bytes, that one statement takes in at most.
pub const CHUNK_EVENTS: usize = 500;
pub const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// What events are to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// New ones, at the end of the timeline.
    Live,
    /// The same, of servers that leave it to this one to tell the others in the room: joins, knocks and leaves.
    Relayed,
    /// Old ones, that were missing before others. What is missing before them in turn is not asked for.
    Backfilled,
    /// Known for themselves only: auth events, and the events of a given state.
    Outlier,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Relayed => "relayed",
            Self::Backfilled => "backfilled",
            Self::Outlier => "outlier",
        }
    }
}

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
    pub states: BTreeMap<String, Vec<String>>,
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Stored, and not shown: the reason.
    SoftFailed(String),
    /// Stored, and without effect: the reason.
    Rejected(String),
    /// Stored as known.
    Outlier,
    /// Not stored, as it is no event of the room: the reason.
    Refused(String),
    /// Not stored, as something that it needs could not be had: the reason, and whether it may be had later.
    Unsettled {
        reason: String,
        later: bool,
    },
}

/// A PDU that was taken in, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Absent for what is not an event of the room by its format.
    pub event_id: Option<String>,
    pub verdict: Verdict,
}

/// The answer of `receive_pdus`.
#[derive(Deserialize)]
pub struct Answer {
    pub pdus: Vec<Report>,
}

/// What it says of an event.
#[derive(Deserialize)]
pub struct Report {
    verdict: String,
    reason: Option<String>,
    #[serde(default)]
    pub needs: Needs,
}

/// What the caller has to bring before an event can be judged.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Needs {
    /// Server names and key ids.
    pub keys: Vec<(String, String)>,
    /// Events to be brought as outliers.
    pub events: Vec<String>,
    pub prev_events: Vec<String>,
    /// The ids of the events of the state before it.
    pub state: bool,
    /// The signature of this policy server.
    pub policy_server: Option<String>,
}

impl Needs {
    /// The events that it names.
    pub fn cited(&self) -> impl Iterator<Item = &str> {
        self.events.iter().chain(&self.prev_events).map(String::as_str)
    }

    /// What may be given up: servers, and previous events.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(server, _)| server).chain(&self.prev_events).map(String::as_str)
    }
}

impl Report {
    /// What became of the event; `None` if it needs something.
    pub fn verdict(&self) -> Option<Verdict> {
        let reason = || self.reason.clone().unwrap_or_default();
        match self.verdict.as_str() {
            "accepted" => Some(Verdict::Accepted),
            "soft-failed" => Some(Verdict::SoftFailed(reason())),
            "rejected" => Some(Verdict::Rejected(reason())),
            "outlier" => Some(Verdict::Outlier),
            "refused" => Some(Verdict::Refused(reason())),
            _ => None,
        }
    }
}

/// Reads an answer of `receive_pdus`.
pub fn read_answer(response: &MatrixResponse) -> Result<Answer, ApiError> {
    if response.status != StatusCode::OK {
        return Err(ApiError::new(response.status, "M_UNKNOWN", "The room takes in no events"));
    }
    serde_json::from_str(&response.body).map_err(|_| ApiError::internal())
}

/// Why something cannot be had, and whether it may be had later.
#[derive(Clone, Debug)]
pub struct Unavailable {
    pub reason: String,
    pub later: bool,
}
