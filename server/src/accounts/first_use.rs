//! The first use of an access token that a refresh gave.
//!
//! "The old refresh token remains valid until the new access token or refresh token is used, at which point the old
//! refresh token is revoked" (Client-Server API, "Refreshing access tokens"). Requests are authenticated by functions
//! that only read, so the first use is recorded here, before the request: one statement more, once for each such
//! token and node. Tokens of a login replace none, and are told from these by their prefix.

use moka::sync::Cache;

use crate::base::access_token::AccessToken;
use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::database::Db;

/// How many tokens a node remembers to have seen. When it forgets them, each costs a statement again.
const REMEMBERED: u64 = 100_000;

/// Knows which tokens this node has seen used.
#[derive(Clone)]
pub struct FirstUse {
    db: Db,
    seen: Cache<AccessToken, ()>,
}

impl FirstUse {
    /// Remembers nothing yet.
    pub fn new(db: Db) -> Self {
        Self { db, seen: bounded(REMEMBERED).build() }
    }

    /// Records that a token is used, which a refresh gave.
    pub async fn record(&self, token: AccessToken) -> Result<(), ApiError> {
        if self.seen.contains_key(&token) {
            return Ok(());
        }
        let row = self.db.query_opt(include_str!("first_use.sql"), &[&token.hash()]).await?;
        // Invented tokens are not worth remembering.
        if row.is_some_and(|row| row.get("known")) {
            self.seen.insert(token, ());
        }
        Ok(())
    }
}
