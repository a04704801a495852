//! Fetches and caches `/.well-known/matrix/server` of other servers. Server-Server API, "Resolving server
//! names".

#[cfg(test)]
mod tests;

use std::time::Duration;

use moka::sync::Cache;
use reqwest::header::{CACHE_CONTROL, HeaderMap};
use serde::Deserialize;
use tokio::time::Instant;
use tracing::debug;

use super::discovery::Authority;
use crate::base::cache::bounded;

/// The default and maximum lifetime that the specification recommends.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);
const MAX_LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// The minimum lifetime, so that a host is not asked before every request.
const MIN_LIFETIME: Duration = Duration::from_secs(60);
/// How long a failure is cached at first. Each further failure doubles it, up to the recommended hour.
const FIRST_FAILURE_LIFETIME: Duration = Duration::from_secs(60);
const MAX_FAILURE_LIFETIME: Duration = Duration::from_secs(3600);
/// The longest body that is read, in bytes.
const MAX_BODY: usize = 50_000;
/// How many hosts the cache of a node contains.
const REMEMBERED: u64 = 100_000;

#[derive(Clone, Debug)]
struct Entry {
    /// The server that the host delegates to; `None` if it does not delegate.
    delegated: Option<Authority>,
    until: Instant,
    /// How many times in succession there was no valid answer.
    failures: u32,
}

/// The cache of delegations.
#[derive(Debug)]
pub struct WellKnown {
    known: Cache<String, Entry>,
}

impl Default for WellKnown {
    fn default() -> Self {
        Self { known: bounded(REMEMBERED).build() }
    }
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "m.server")]
    server: String,
}

impl WellKnown {
    /// The server that `host` delegates to, if it does.
    pub async fn delegated(&self, http: &reqwest::Client, host: &str) -> Option<Authority> {
        let known = self.known.get(host);
        if let Some(entry) = known.as_ref().filter(|entry| entry.until > Instant::now()) {
            return entry.delegated.clone();
        }
        let entry = match fetch(http, host).await {
            Ok((delegated, lifetime)) => {
                Entry { delegated: Some(delegated), until: Instant::now() + lifetime, failures: 0 }
            }
            Err(reason) => {
                debug!(host, reason, "no delegation");
                let failures = known.map_or(0, |entry| entry.failures);
                let lifetime =
                    (FIRST_FAILURE_LIFETIME * 2_u32.pow(failures.min(6))).min(MAX_FAILURE_LIFETIME);
                Entry { delegated: None, until: Instant::now() + lifetime, failures: failures + 1 }
            }
        };
        let delegated = entry.delegated.clone();
        self.known.insert(host.to_owned(), entry);
        delegated
    }
}

async fn fetch(http: &reqwest::Client, host: &str) -> Result<(Authority, Duration), String> {
    let url = format!("https://{host}/.well-known/matrix/server");
    let mut response = http.get(url).send().await.map_err(|error| error.to_string())?;
    if response.status() != reqwest::StatusCode::OK {
        return Err(format!("status {}", response.status()));
    }
    let lifetime = lifetime(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| error.to_string())? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return Err("too long".to_owned());
        }
    }
    let body: Body = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    let delegated = Authority::parse(&body.server).ok_or("m.server is no server name")?;
    Ok((delegated, lifetime))
}

/// How long an answer may be cached, according to its `Cache-Control`.
fn lifetime(headers: &HeaderMap) -> Duration {
    let directives = headers.get_all(CACHE_CONTROL);
    let mut directives =
        directives.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let told = directives.find_map(|directive| {
        let directive = directive.trim().to_ascii_lowercase();
        match directive.as_str() {
            "no-store" | "no-cache" => Some(Duration::ZERO),
            _ => directive.strip_prefix("max-age=")?.parse().ok().map(Duration::from_secs),
        }
    });
    told.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME)
}
