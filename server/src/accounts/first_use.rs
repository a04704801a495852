//! Records the first use of an access token from a refresh.
//!
//! "The old refresh token remains valid until the new access token or refresh token is used, at which point
//! the old refresh token is revoked" (Client-Server API, "Refreshing access tokens"). Requests are
//! authenticated by functions that only read, so the first use is recorded before the request, by one more
//! statement for each such token and node. Tokens of a login replace none, and have another prefix.

use moka::sync::Cache;

use crate::base::access_token::AccessToken;
use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::database::Db;

/// How many used tokens a node remembers. A forgotten one costs the statement again.
const REMEMBERED: u64 = 100_000;

/// The refreshed tokens whose use this node has recorded.
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

    /// Records the use of a token from a refresh.
    pub async fn record(&self, token: AccessToken) -> Result<(), ApiError> {
        if self.seen.contains_key(&token) {
            return Ok(());
        }
        let row = self.db.query_opt(include_str!("first_use.sql"), &[&token.hash()]).await?;
        // Unknown tokens are not remembered: a client could invent any number.
        if row.is_some_and(|row| row.get("known")) {
            self.seen.insert(token, ());
        }
        Ok(())
    }
}
