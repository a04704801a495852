//! Identifiers and times that this server makes.

use std::time::{SystemTime, UNIX_EPOCH};

use rand::{RngExt, distr::Alphanumeric};

/// The current time, in milliseconds since the Unix epoch.
pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A random event id, for room versions 1 and 2, in which the server chooses it.
pub fn random_event_id(server_name: &str) -> String {
    format!("${}:{server_name}", random_letters(18))
}

/// Random letters and digits: 5.95 bits each.
pub fn random_letters(count: usize) -> String {
    rand::rng().sample_iter(Alphanumeric).take(count).map(char::from).collect()
}
