//! Rate limits: a bucket of attempts for each key, which fills up again with time.

#[cfg(test)]
mod tests;

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::sync::Cache;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::cache::bounded;

/// The most keys that are remembered. Those that were not used for the longest time are forgotten first.
const REMEMBERED: u64 = 100_000;

/// How many attempts a key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Attempts in a minute, in the long run. 0: there is no limit.
    pub per_minute: u32,
    /// Attempts at once.
    pub burst: u32,
}

/// The buckets of one kind of attempts.
pub struct Buckets<K> {
    /// The time in which one attempt comes back; `None` without a limit.
    interval: Option<Duration>,
    burst: u32,
    /// For each key the time at which its bucket is full again.
    full_at: Cache<K, Arc<Mutex<Instant>>>,
}

impl<K: Clone + Eq + Hash + Send + Sync + 'static> Buckets<K> {
    /// Full buckets.
    pub fn new(rate: Rate) -> Self {
        let interval = (rate.per_minute > 0).then(|| Duration::from_secs(60) / rate.per_minute);
        let burst = rate.burst.max(1);
        let refilled = interval.unwrap_or_default() * burst;
        Self { interval, burst, full_at: bounded(REMEMBERED).time_to_idle(refilled).build() }
    }

    /// Takes an attempt. If there is none, returns the time until there is one again.
    pub fn take(&self, key: &K) -> Result<(), Duration> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: &K, now: Instant) -> Result<(), Duration> {
        let Some(interval) = self.interval else { return Ok(()) };
        let bucket = self.full_at.entry_by_ref(key).or_insert_with(|| Arc::new(Mutex::new(now))).into_value();
        let mut full_at = bucket.lock();
        let after = (*full_at).max(now) + interval;
        let missing = (after - now).saturating_sub(interval * self.burst);
        if missing > Duration::ZERO {
            return Err(missing);
        }
        *full_at = after;
        Ok(())
    }

    /// Puts an attempt back that did no harm, such as a login with the right password.
    pub fn put_back(&self, key: &K) {
        if let Some(interval) = self.interval
            && let Some(bucket) = self.full_at.get(key)
        {
            let mut full_at = bucket.lock();
            *full_at = full_at.checked_sub(interval).unwrap_or(*full_at);
        }
    }
}
