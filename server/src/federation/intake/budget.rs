//! The limits of the intake of one batch, whatever other servers answer.

#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::batch::Kind;

const TIME: Duration = Duration::from_secs(180);
const ROUNDS: u32 = 40;
/// Fetched events. Enough for the state of a large room with its auth events.
const EVENTS: usize = 100_000;
const BYTES: usize = 64 * 1024 * 1024;
/// Requests for missing events of the timeline, to which servers answer with 20 events or more. In a longer
/// gap, the state before the newest events is fetched instead.
const GAPS: u32 = 20;
/// Requests for auth chains, and for states.
const CHAINS: u32 = 10;
const STATES: u32 = 5;
/// The limits for backfilled events. A state may be needed for each branch that an answer cuts off.
const BACKFILL_TIME: Duration = Duration::from_secs(45);
const BACKFILL_STATES: u32 = 20;
/// Requests for single events.
const SINGLES: u32 = 500;
/// Requests to servers that are in the room but did not send the events.
const OTHERS: u32 = 30;

/// What is left of the limits.
#[derive(Debug)]
pub struct Budget {
    pub(super) deadline: Instant,
    rounds: u32,
    events: usize,
    bytes: usize,
    pub gaps: Requests,
    pub chains: Requests,
    pub states: Requests,
    pub singles: Requests,
    pub others: Requests,
}

/// How many requests of one kind are left.
#[derive(Debug)]
pub struct Requests(AtomicU32);

impl Requests {
    /// Uses one request. Returns whether one was left.
    pub fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

impl Budget {
    pub fn new(kind: Kind) -> Self {
        let (time, states) = match kind {
            Kind::Backfilled => (BACKFILL_TIME, BACKFILL_STATES),
            Kind::Live | Kind::Relayed | Kind::Outlier => (TIME, STATES),
        };
        Self {
            deadline: Instant::now() + time,
            rounds: ROUNDS,
            events: EVENTS,
            bytes: BYTES,
            gaps: Requests(GAPS.into()),
            chains: Requests(CHAINS.into()),
            states: Requests(states.into()),
            singles: Requests(SINGLES.into()),
            others: Requests(OTHERS.into()),
        }
    }

    /// Starts a round of fetching. The error names the limit that is reached.
    pub fn round(&mut self) -> Result<(), &'static str> {
        if self.time_left().is_zero() {
            return Err("time");
        }
        if self.events == 0 {
            return Err("events");
        }
        if self.bytes == 0 {
            return Err("bytes");
        }
        self.rounds = self.rounds.checked_sub(1).ok_or("rounds")?;
        Ok(())
    }

    pub fn time_left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Charges a fetched event of `bytes`. Returns whether it may be kept.
    pub fn event(&mut self, bytes: usize) -> bool {
        if self.events == 0 || self.bytes < bytes {
            self.bytes = 0;
            return false;
        }
        self.events -= 1;
        self.bytes -= bytes;
        true
    }
}
