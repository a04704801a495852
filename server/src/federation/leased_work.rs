//! Work that waits in a table, and that nodes lease from each other.

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use crate::base::error::ApiError;

/// A kind of work that any node may do.
pub trait LeasedWork: Clone + Send + Sync + 'static {
    /// What a node leases at a time.
    type Lease: Send + 'static;

    /// How much of it a node does at the same time.
    const WORKERS: usize;
    /// How often a node looks for work that nobody told it of.
    const POLL: Duration;

    /// Completes when there may be work.
    fn has_come(&self) -> &Notify;

    /// Leases work that is due, of at most `limit` workers; none where there is none.
    fn claim(&self, limit: usize) -> impl Future<Output = Result<Vec<Self::Lease>, ApiError>> + Send;

    /// Does it, and gives the lease back.
    fn work(self, lease: Self::Lease) -> impl Future<Output = ()> + Send;
}

/// Does work for as long as the node runs.
pub async fn run<W: LeasedWork>(work: W) {
    let mut workers = JoinSet::new();
    loop {
        // A database that is away was logged by `Db`.
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
            () = work.has_come().notified(), if workers.len() < W::WORKERS => {}
            () = sleep(W::POLL) => {}
        }
    }
}

/// Does `work`, and meanwhile renews its lease `every` so often. A renewal that fails ends the work with its error.
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
