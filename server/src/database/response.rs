//! The responses of SQL functions that serve a request.

use std::any::type_name;
use std::error::Error;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use matriarch_wire::Outcome;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_postgres::Row;
use tracing::error;

use crate::base::error::ApiError;
use crate::base::json_response::json_response;

/// The response of a function that serves a request: the SQL type `matriarch.response`.
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
    /// What the node must do before or after it answers the client. `None` if the row is the answer.
    pub outcome: Option<Outcome>,
}

/// The constant statement that calls a function which returns `setof matriarch.response`. The names of
/// further columns follow the call: `call!("matriarch.messages($1, $2)", gap)`.
macro_rules! call {
    ($function:literal $(, $column:ident)*) => {
        concat!(
            "select status, outcome, body, wake_rooms, wake_users",
            $(", ", stringify!($column),)*
            " from ",
            $function
        )
    };
}
pub(crate) use call;

impl MatrixResponse {
    /// A 200 answer that the node makes itself, which wakes nobody.
    pub fn of(body: Value) -> Self {
        Self {
            status: StatusCode::OK,
            body: body.to_string(),
            wake_rooms: Vec::new(),
            wake_users: Vec::new(),
            outcome: None,
        }
    }

    /// Whether another server may be able to serve what this one refuses.
    pub fn is_elsewhere(&self) -> bool {
        self.outcome == Some(Outcome::Elsewhere)
    }

    /// Reads a row of [`call!`]. Fails with 500 if the row has another form or an unknown outcome, which is a
    /// bug.
    pub fn from_row(row: &Row) -> Result<Self, ApiError> {
        let read = || -> Result<Self, Box<dyn Error>> {
            let status = u16::try_from(row.try_get::<_, i16>("status")?)?;
            let outcome: Option<&str> = row.try_get("outcome")?;
            Ok(Self {
                status: StatusCode::from_u16(status)?,
                outcome: outcome.map(str::parse).transpose()?,
                body: row.try_get::<_, Option<String>>("body")?.unwrap_or_else(|| "{}".to_owned()),
                wake_rooms: row.try_get::<_, Option<Vec<i64>>>("wake_rooms")?.unwrap_or_default(),
                wake_users: row.try_get::<_, Option<Vec<i64>>>("wake_users")?.unwrap_or_default(),
            })
        };
        read().map_err(|cause| {
            error!(cause, "a row is not a matriarch.response");
            ApiError::internal()
        })
    }

    /// Reads a body that is meant for the node. Fails with 500 if it has another form, which is a bug.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        serde_json::from_str(&self.body).map_err(|cause| {
            error!(%cause, form = type_name::<T>(), "a body cannot be read");
            ApiError::internal()
        })
    }
}

impl IntoResponse for MatrixResponse {
    fn into_response(self) -> Response {
        json_response(self.status, self.body)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn calls_are_constant_statements() {
        const TAGS: &str = call!("matriarch.tags($1, $2)");
        assert_eq!(TAGS, "select status, outcome, body, wake_rooms, wake_users from matriarch.tags($1, $2)");
        const MESSAGES: &str = call!("matriarch.messages($1)", gap);
        assert_eq!(
            MESSAGES,
            "select status, outcome, body, wake_rooms, wake_users, gap from matriarch.messages($1)"
        );
    }
}
