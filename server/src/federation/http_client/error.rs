//! Why there is no usable answer of another server, and what of it a client is told.

#[cfg(test)]
mod tests;

use axum::http::StatusCode;
use serde_json::{Map, Value};
use tracing::debug;

use crate::base::error::ApiError;

/// The longest pause that another server can make a client keep, in milliseconds: a day.
const MAX_RETRY_AFTER: u64 = 86_400_000;
/// The longest errcode or room version that is passed on, in bytes.
const MAX_WORD: usize = 255;

/// What 400 answers say of a request that this server made wrongly. They are no answers to the client's.
const ABOUT_THE_REQUEST: [&str; 5] =
    ["M_BAD_JSON", "M_NOT_JSON", "M_MISSING_PARAM", "M_INVALID_PARAM", "M_UNRECOGNIZED"];

/// Why there is no usable answer of another server.
#[derive(Debug, thiserror::Error)]
pub enum FederationError {
    /// The configuration denies federation with that server, or the server name is invalid.
    #[error("this server does not federate with {0}")]
    NotAdmitted(String),
    /// The server could not be reached, or did not answer in time.
    #[error("{server} cannot be reached: {reason}")]
    Unreachable { server: String, reason: String },
    /// The server answered with an error.
    #[error("{server} answered {status}: {errcode} {error}")]
    Refused {
        server: String,
        status: StatusCode,
        errcode: String,
        error: String,
        /// Members beside `errcode` and `error`.
        extra: Map<String, Value>,
    },
    /// The answer is too long or malformed.
    #[error("the answer of {server} is bad: {reason}")]
    BadAnswer { server: String, reason: String },
    /// This server's database failed.
    #[error("{}", .0.message)]
    Internal(ApiError),
}

/// What a refusal says about the client's request, from most to least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The server decided about the request: 403, or 400 with a reason.
    Decided,
    /// The server does not know the room, user or alias.
    NotFound,
    /// The server cannot serve the request, or not now.
    NotServed,
    /// The server failed, or did not answer.
    Failed,
}

impl FederationError {
    /// The error for a malformed answer.
    pub fn bad_answer(server: &str, reason: impl Into<String>) -> Self {
        Self::BadAnswer { server: server.to_owned(), reason: reason.into() }
    }

    /// The error for a server that did not answer.
    pub fn unreachable(server: &str, reason: impl Into<String>) -> Self {
        Self::Unreachable { server: server.to_owned(), reason: reason.into() }
    }

    /// The refusal of a server whose room has a version that is not supported here: as another server would
    /// word it to this one.
    pub fn incompatible_version(server: &str, room_version: &str) -> Self {
        Self::Refused {
            server: server.to_owned(),
            status: StatusCode::BAD_REQUEST,
            errcode: "M_INCOMPATIBLE_ROOM_VERSION".to_owned(),
            error: "Your homeserver does not support the version of this room".to_owned(),
            extra: Map::from_iter([("room_version".to_owned(), room_version.into())]),
        }
    }

    /// What the error says about the client's request.
    pub fn refusal(&self) -> Refusal {
        let Self::Refused { status, errcode, .. } = self else { return Refusal::Failed };
        match *status {
            StatusCode::FORBIDDEN if is_word(errcode) => Refusal::Decided,
            StatusCode::BAD_REQUEST if is_word(errcode) && !ABOUT_THE_REQUEST.contains(&errcode.as_str()) => {
                Refusal::Decided
            }
            StatusCode::NOT_FOUND if errcode == "M_NOT_FOUND" => Refusal::NotFound,
            StatusCode::NOT_FOUND | StatusCode::TOO_MANY_REQUESTS => Refusal::NotServed,
            _ => Refusal::Failed,
        }
    }

    /// Whether the server forbids the request: another server of the room would not allow it either.
    pub fn forbids(&self) -> bool {
        let Self::Refused { status, errcode, .. } = self else { return false };
        *status == StatusCode::FORBIDDEN && errcode == "M_FORBIDDEN"
    }

    /// The error for a client. What the server decided or does not know is passed on with its errcode and
    /// message, and 429 with its pause. Everything else is 502 `M_UNKNOWN` with one message. Clients choose
    /// the host and the port, so that a reason would tell them what listens in this server's network. The log
    /// has it.
    pub fn for_client(self) -> ApiError {
        let refusal = self.refusal();
        match self {
            Self::Internal(error) => error,
            Self::NotAdmitted(_) => ApiError::forbidden(self.to_string()),
            Self::Refused { status: StatusCode::TOO_MANY_REQUESTS, errcode, server, extra, .. }
                if is_word(&errcode) =>
            {
                let message = format!("{server} gets too many requests");
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", message);
                match extra.get("retry_after_ms").and_then(Value::as_u64) {
                    Some(pause) => {
                        let pause = pause.min(MAX_RETRY_AFTER);
                        let retry_after = u32::try_from(pause.div_ceil(1000)).ok();
                        ApiError { retry_after, ..error.with("retry_after_ms", pause) }
                    }
                    None => error,
                }
            }
            Self::Refused { status, errcode, error, extra, server }
                if matches!(refusal, Refusal::Decided | Refusal::NotFound)
                    || (status == StatusCode::NOT_FOUND
                        && is_word(&errcode)
                        && errcode != "M_UNRECOGNIZED") =>
            {
                let error =
                    if error.is_empty() { format!("{server} refused without a reason") } else { error };
                let passed_on = ApiError::new(status, errcode, error);
                match extra.get("room_version").and_then(Value::as_str) {
                    Some(version) if version.len() <= MAX_WORD => passed_on.with("room_version", version),
                    _ => passed_on,
                }
            }
            error => {
                debug!(%error, "no usable answer for a client");
                ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", "The other server gave no usable answer")
            }
        }
    }
}

/// Whether a text has the form of an errcode.
fn is_word(errcode: &str) -> bool {
    let is_part = |byte: u8| byte == b'_' || byte == b'.' || byte.is_ascii_alphanumeric();
    !errcode.is_empty() && errcode.len() <= MAX_WORD && errcode.bytes().all(is_part)
}

impl From<ApiError> for FederationError {
    fn from(error: ApiError) -> Self {
        Self::Internal(error)
    }
}
