//! The session of an access token, for endpoints that need more than one function of the extension.

use axum::http::StatusCode;

use crate::base::access_token::AccessToken;
use crate::base::current_request::log_user;
use crate::base::error::ApiError;
use crate::database::Db;

/// The owner of an access token.
#[derive(Clone, Debug)]
pub struct Session {
    pub user_nid: i64,
    pub user_id: String,
    pub device_nid: i64,
}

impl Session {
    /// Finds the session of a token. Fails with 401 `M_UNKNOWN_TOKEN`, with `soft_logout` if the token has
    /// expired and its device still exists.
    pub async fn of(db: &Db, token: &AccessToken) -> Result<Self, ApiError> {
        let Some(row) = db.query_opt(include_str!("session.sql"), &[&token.hash()]).await? else {
            return Err(unknown_token());
        };
        if row.get("expired") {
            return Err(expired_token());
        }
        log_user(row.get("user_id"));
        Ok(Self {
            user_nid: row.get("user_nid"),
            user_id: row.get("user_id"),
            device_nid: row.get("device_nid"),
        })
    }
}

/// 401 `M_UNKNOWN_TOKEN`: there is no such token.
pub fn unknown_token() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "The token is not known")
}

/// 401 `M_UNKNOWN_TOKEN` with `soft_logout`: the device may refresh or log in again.
pub fn expired_token() -> ApiError {
    ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "The access token has expired")
        .with("soft_logout", true)
}
