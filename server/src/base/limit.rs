//! Tells in metric and log that a limit was reached. Who attacks reaches one many times in a second, so that
//! the log has a line for each limit and second.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::info;

use super::metrics;

/// The time between two lines about a limit.
const PAUSE: Duration = Duration::from_secs(1);

/// When each limit was last logged, and how often it was reached since then.
static LOGGED: LazyLock<Mutex<HashMap<&'static str, (Instant, u64)>>> = LazyLock::new(Mutex::default);

/// Counts and logs that `holder` (an address or a server) reached the limit of this name.
pub fn reached(limit: &'static str, holder: impl Display) {
    metrics::limit(limit);
    let now = Instant::now();
    let mut logged = LOGGED.lock();
    let not_logged = match logged.get_mut(limit) {
        Some((last, unsaid)) if now.duration_since(*last) < PAUSE => {
            *unsaid += 1;
            return;
        }
        Some((_, unsaid)) => *unsaid,
        None => 0,
    };
    logged.insert(limit, (now, 0));
    drop(logged);
    info!(limit, %holder, not_logged, "a limit is reached");
}
