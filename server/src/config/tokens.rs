//! `[tokens]`: the lifetime of access tokens.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// The lifetime of access tokens.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// The lifetime of access tokens of clients that can refresh them, in seconds. Those of other clients do
    /// not expire. Default: 3600.
    pub access_token_lifetime: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { access_token_lifetime: 3600 }
    }
}

impl Tokens {
    /// The lifetime of an access token that can be refreshed.
    pub fn access_lifetime(&self) -> Duration {
        Duration::from_secs(self.access_token_lifetime)
    }

    /// The lifetime of a client's first access token; `None` if it does not expire.
    pub fn lifetime(&self, client_refreshes: bool) -> Option<Duration> {
        client_refreshes.then(|| self.access_lifetime())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // Bounded, so that PostgreSQL's timestamps and clients' integers can represent it.
        const TEN_YEARS: u64 = 10 * 366 * 86_400;
        if (1..=TEN_YEARS).contains(&self.access_token_lifetime) {
            Ok(())
        } else {
            Err(ConfigError::value("tokens.access_token_lifetime", "must be from 1 second to ten years"))
        }
    }
}
