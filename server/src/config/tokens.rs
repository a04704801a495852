//! `[tokens]`: how long access tokens live.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// How long access tokens live.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tokens {
    /// The life of an access token whose client can refresh it, in seconds. Those of other clients live until they
    /// log out. Default: 3600.
    pub access_token_lifetime: u64,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { access_token_lifetime: 3600 }
    }
}

impl Tokens {
    /// The life of an access token that can be refreshed.
    pub fn access_lifetime(&self) -> Duration {
        Duration::from_secs(self.access_token_lifetime)
    }

    /// The life of the first access token of a client; `None` for ever.
    pub fn lifetime(&self, client_refreshes: bool) -> Option<Duration> {
        client_refreshes.then(|| self.access_lifetime())
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        // PostgreSQL's calendar, and clients' numbers, end somewhere.
        const TEN_YEARS: u64 = 10 * 366 * 86_400;
        if (1..=TEN_YEARS).contains(&self.access_token_lifetime) {
            Ok(())
        } else {
            Err(ConfigError::value("tokens.access_token_lifetime", "must be from 1 second to ten years"))
        }
    }
}
