//! What `receive_pdus` is told of the PDUs of a batch, and what it answers for each.

use serde_json::{Map, Value, json};

/// What the events of a batch are to the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// New ones, at the end of the timeline.
    Live,
    /// Old ones, each before those that cite it.
    Backfilled,
    /// Known for themselves only: auth events, and the events of a given state.
    Outlier,
}

/// What the caller has to bring before an event can be judged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Signing keys: server names and key ids.
    pub keys: Vec<(String, String)>,
    /// Events to be brought as outliers: auth events, and those of a given state.
    pub events: Vec<String>,
    /// Events before it.
    pub prev_events: Vec<String>,
    /// The ids of the events of the state before it, since the events before it cannot be obtained.
    pub state: bool,
    /// The signature of the room's policy server: its name.
    pub policy_server: Option<String>,
}

/// What became of a PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    /// Stored, and not shown: the room's current state does not allow it. The reason.
    SoftFailed(String),
    /// Stored, and without effect: the reason.
    Rejected(String),
    /// Stored as known; nothing is said of the place that it has in the room.
    Outlier,
    /// Not stored, since it is no event of the room at all: the reason.
    Refused(String),
    /// Not stored yet.
    Needs(Needs),
}

impl Verdict {
    /// The name in the answer and in `matrix.events.status`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::SoftFailed(_) => "soft-failed",
            Self::Rejected(_) => "rejected",
            Self::Outlier => "outlier",
            Self::Refused(_) => "refused",
            Self::Needs(_) => "needs",
        }
    }

    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::SoftFailed(reason) | Self::Rejected(reason) | Self::Refused(reason) => Some(reason),
            _ => None,
        }
    }
}

/// `{"event_id": …, "verdict": …, "reason": …, "needs": {…}}`; keys that say nothing are absent.
pub fn to_json(event_id: Option<&str>, verdict: &Verdict) -> Value {
    let mut report = Map::new();
    report.extend(event_id.map(|event_id| ("event_id".to_owned(), event_id.into())));
    report.insert("verdict".to_owned(), verdict.name().into());
    report.extend(verdict.reason().map(|reason| ("reason".to_owned(), reason.into())));
    if let Verdict::Needs(needs) = verdict {
        let keys: Vec<Value> = needs.keys.iter().map(|(server, key_id)| json!([server, key_id])).collect();
        let mut wanted = Map::new();
        if !keys.is_empty() {
            wanted.insert("keys".to_owned(), keys.into());
        }
        if !needs.events.is_empty() {
            wanted.insert("events".to_owned(), needs.events.clone().into());
        }
        if !needs.prev_events.is_empty() {
            wanted.insert("prev_events".to_owned(), needs.prev_events.clone().into());
        }
        if needs.state {
            wanted.insert("state".to_owned(), true.into());
        }
        if let Some(policy_server) = &needs.policy_server {
            wanted.insert("policy_server".to_owned(), policy_server.as_str().into());
        }
        report.insert("needs".to_owned(), wanted.into());
    }
    report.into()
}
