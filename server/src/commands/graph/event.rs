//! The columns of `matrix.room_graph` that the picture needs.

use tokio_postgres::{Error, Row};

/// The status of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Accepted,
    SoftFailed,
    Rejected,
}

/// An event of a room's graph.
#[derive(Clone, Debug)]
pub struct GraphEvent {
    pub event_id: String,
    pub event_type: String,
    /// `None` for message events.
    pub state_key: Option<String>,
    pub sender: String,
    /// UTC, to the second; `None` if the time is outside of the calendar.
    pub sent_at: Option<String>,
    pub depth: i64,
    pub status: Status,
    /// The reason why it is soft-failed or rejected.
    pub reason: Option<String>,
    pub is_forward_extremity: bool,
    pub prev_events: Vec<String>,
    /// The previous events that are missing here.
    pub missing_prev_events: Vec<String>,
}

impl GraphEvent {
    /// Reads a row.
    pub fn of(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            event_id: row.try_get("event_id")?,
            event_type: row.try_get("type")?,
            state_key: row.try_get("state_key")?,
            sender: row.try_get("sender")?,
            sent_at: row.try_get("sent_at")?,
            depth: row.try_get("depth")?,
            status: match row.try_get("status")? {
                "accepted" => Status::Accepted,
                "soft-failed" => Status::SoftFailed,
                _ => Status::Rejected,
            },
            reason: row.try_get("status_reason")?,
            is_forward_extremity: row.try_get("is_forward_extremity")?,
            prev_events: row.try_get("prev_events")?,
            missing_prev_events: row.try_get("missing_prev_events")?,
        })
    }
}
