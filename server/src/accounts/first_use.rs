//! The first use of an access token that a refresh gave.
//!
//! "The old refresh token remains valid until the new access token or refresh token is used, at which point the old
//! refresh token is revoked" (Client-Server API, "Refreshing access tokens"). Requests are authenticated by functions
//! that only read, so the first use is recorded here, before the request: one statement more, once for each such
//! token and node. Tokens of a login replace none, and are told from these by their prefix.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{OptionalFromRequestParts, Request, State};
use axum::http::{header, request::Parts};
use axum::middleware::Next;
use axum::response::Response;

use super::tokens::REFRESHED;
use crate::db::Db;
use crate::error::ApiError;
use crate::http::AccessToken;

/// How many tokens a node remembers to have seen. When it forgets them, each costs a statement again.
const REMEMBERED: usize = 100_000;

/// Knows which tokens this node has seen used.
#[derive(Clone)]
pub struct FirstUse {
    db: Db,
    seen: Arc<Mutex<HashSet<AccessToken>>>,
}

impl FirstUse {
    /// Remembers nothing yet.
    pub fn new(db: Db) -> Self {
        Self { db, seen: Arc::default() }
    }

    async fn record(&self, token: AccessToken) -> Result<(), ApiError> {
        if self.lock().contains(&token) {
            return Ok(());
        }
        let row = self.db.query_opt(include_str!("first_use.sql"), &[&token.hash()]).await?;
        // Invented tokens are not worth remembering.
        if row.is_some_and(|row| row.get("known")) {
            let mut seen = self.lock();
            if seen.len() >= REMEMBERED {
                seen.clear();
            }
            seen.insert(token);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<AccessToken>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Records the first use of a refreshed access token before the request goes on.
pub async fn record(
    State(first_use): State<FirstUse>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    if may_hold_refreshed(&parts)
        // A request whose token cannot be read is refused by its handler.
        && let Ok(Some(token)) = AccessToken::from_request_parts(&mut parts, &()).await
    {
        first_use.record(token).await?;
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}

fn may_hold_refreshed(parts: &Parts) -> bool {
    let header = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    [header, parts.uri.query()].into_iter().flatten().any(|text| text.contains(REFRESHED))
}
