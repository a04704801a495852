//! What SQL functions answer that serve a request.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio_postgres::Row;
use tracing::error;

use crate::base::error::ApiError;
use crate::base::json_response::json_response;

/// The answer of a function that serves a request: the SQL type `matriarch.response`.
#[derive(Clone, Debug, PartialEq)]
pub struct MatrixResponse {
    /// The HTTP status.
    pub status: StatusCode,
    /// The JSON body, written to HTTP as it stands.
    pub body: String,
    /// Rooms whose waiting syncs have news.
    pub wake_rooms: Vec<i64>,
    /// Users whose waiting syncs have news.
    pub wake_users: Vec<i64>,
    /// What the answer asks for before it is the client's.
    pub outcome: Outcome,
}

/// What an answer asks for before it is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing: it is the client's.
    Answer,
    /// Another server may do what this one refuses.
    Elsewhere,
    /// Members of the room are still being loaded: the same call may succeed later.
    Partial,
    /// A user of this server is joining the room: the same call may succeed soon.
    Joining,
    /// An event cannot be judged before what it depends on was fetched.
    NeedsMore,
    /// A policy server is to sign an event first, which the body holds.
    SignFirst,
    /// The body holds the answer, and events that a policy server is to sign afterwards.
    SignAfterwards,
}

impl Outcome {
    fn of(status: StatusCode) -> Self {
        match status {
            StatusCode::MISDIRECTED_REQUEST => Self::Elsewhere,
            StatusCode::LOCKED => Self::Partial,
            StatusCode::TOO_EARLY => Self::Joining,
            StatusCode::FAILED_DEPENDENCY => Self::NeedsMore,
            StatusCode::PRECONDITION_REQUIRED => Self::SignFirst,
            StatusCode::ACCEPTED => Self::SignAfterwards,
            _ => Self::Answer,
        }
    }
}

impl MatrixResponse {
    /// An answer of 200 that did not come from the database, and wakes nobody.
    pub fn of(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: body.to_string(),
            wake_rooms: Vec::new(),
            wake_users: Vec::new(),
            outcome: Outcome::Answer,
        }
    }

    /// Whether another server may do what this one refuses.
    pub fn is_elsewhere(&self) -> bool {
        self.outcome == Outcome::Elsewhere
    }

    /// Reads a row of `status, body, wake_rooms, wake_users`. A row of another form is a bug, answered 500.
    pub fn from_row(row: &Row) -> Result<Self, ApiError> {
        let read = || -> Result<Self, tokio_postgres::Error> {
            let status: i16 = row.try_get("status")?;
            let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
            let body = row.try_get::<_, Option<String>>("body")?.unwrap_or_else(|| "{}".to_owned());
            let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let outcome = Outcome::of(status);
            let status = match outcome {
                Outcome::Elsewhere if body.contains("M_FORBIDDEN") => StatusCode::FORBIDDEN,
                Outcome::Elsewhere => StatusCode::NOT_FOUND,
                _ => status,
            };
            Ok(Self {
                status,
                outcome,
                body,
                wake_rooms: row.try_get::<_, Option<Vec<i64>>>("wake_rooms")?.unwrap_or_default(),
                wake_users: row.try_get::<_, Option<Vec<i64>>>("wake_users")?.unwrap_or_default(),
            })
        };
        read().map_err(|cause| {
            error!(%cause, "a row is not a matriarch.response");
            ApiError::internal()
        })
    }
}

impl IntoResponse for MatrixResponse {
    fn into_response(self) -> Response {
        json_response(self.status, self.body)
    }
}
