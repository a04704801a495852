//! Runs background work that is listed in a table. A lease ensures that only one node does each piece.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::base::error::ApiError;

/// A kind of background work that any node may do.
pub trait LeasedWork: Clone + Send + Sync + 'static {
    /// A leased piece of work.
    type Lease: Send + 'static;

    /// How many pieces a node works on at the same time.
    const WORKERS: usize;
    /// How often a node looks for work that it was not told about.
    const POLL: Duration;

    /// Completes when there may be work.
    fn wake_up(&self) -> &Notify;

    /// Leases at most `limit` pieces of due work; returns none if nothing is due.
    fn claim(&self, limit: usize) -> impl Future<Output = Result<Vec<Self::Lease>, ApiError>> + Send;

    /// Does the work, and ends the lease.
    fn work(self, lease: Self::Lease) -> impl Future<Output = ()> + Send;
}

/// Claims and does work for as long as the node runs.
pub async fn run<W: LeasedWork>(work: W) {
    let mut workers = JoinSet::new();
    loop {
        // `Db` has logged that the database is not reachable.
        while workers.len() < W::WORKERS
            && let Ok(leases) = work.claim(W::WORKERS - workers.len()).await
            && !leases.is_empty()
        {
            for lease in leases {
                workers.spawn(work.clone().work(lease));
            }
        }
        tokio::select! {
            Some(_) = workers.join_next() => {}
            () = work.wake_up().notified(), if workers.len() < W::WORKERS => {}
            () = sleep(W::POLL) => {}
        }
    }
}

/// Does `work`, and renews its lease at intervals of `every`. If a renewal fails, the work is dropped and the
/// error returned.
pub async fn while_renewed<T, E, F>(
    every: Duration,
    renew: impl Fn() -> F,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut renewal = interval(every);
    renewal.reset();
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = renewal.tick() => renew().await?,
        }
    }
}
