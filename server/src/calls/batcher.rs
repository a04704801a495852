//! Combines requests that arrive together into one statement.
//!
//! While one batch of a key runs, the next collects items. There is no timer, so an idle server answers at
//! once and a busy one makes bigger batches.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tracing::{Instrument, error};

use crate::base::error::ApiError;
use crate::base::statements::{count_statements, with_statement_counter};

/// Combines items of type `T` with the same key `K` into calls of one function, which returns an `R` for
/// each.
///
/// Batches run in tasks of their own, so that a client that disconnects affects no other item, and its own
/// item is still processed.
pub struct Batcher<K, T, R> {
    shared: Arc<Shared<K, T, R>>,
}

/// The whole batch failed, by a panic or a wrong number of answers. This is a bug; the batcher logs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLost;

impl From<BatchLost> for ApiError {
    fn from(_: BatchLost) -> Self {
        Self::internal()
    }
}

/// An answer, with the number of statements that its whole batch took.
type Answer<R> = (R, u32);
type Run<K, T, R> = dyn Fn(K, Vec<T>) -> BoxFuture<'static, Vec<R>> + Send + Sync;

struct Shared<K, T, R> {
    kind: &'static str,
    max_size: usize,
    run: Box<Run<K, T, R>>,
    /// The items that wait for the running batch of their key. A key without a running batch has no entry.
    collecting: Mutex<HashMap<K, VecDeque<Item<T, R>>>>,
}

struct Item<T, R> {
    value: T,
    answer: oneshot::Sender<Answer<R>>,
}

impl<K, T, R> Clone for Batcher<K, T, R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, T, R> Batcher<K, T, R>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Send + 'static,
    R: Send + 'static,
{
    /// A batcher that calls `run` with batches of at most `max_size` items. `run` returns one answer for each
    /// item, in order. `kind` names the batcher in metrics and logs.
    pub fn new<F>(
        kind: &'static str,
        max_size: usize,
        run: impl Fn(K, Vec<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let run = Box::new(move |key, items| run(key, items).boxed());
        let shared = Shared { kind, max_size: max_size.max(1), run, collecting: Mutex::new(HashMap::new()) };
        Self { shared: Arc::new(shared) }
    }

    /// Puts `value` into the next batch of `key` and waits for its answer.
    pub async fn submit(&self, key: K, value: T) -> Result<R, BatchLost> {
        let (sender, receiver) = oneshot::channel();
        self.enter(key, Item { value, answer: sender });
        let (answer, statements) = receiver.await.map_err(|_| BatchLost)?;
        count_statements(statements);
        Ok(answer)
    }

    fn enter(&self, key: K, item: Item<T, R>) {
        let mut collecting = self.shared.collecting();
        if let Some(queue) = collecting.get_mut(&key) {
            queue.push_back(item);
            return;
        }
        collecting.insert(key.clone(), VecDeque::new());
        drop(collecting);
        let shared = Arc::clone(&self.shared);
        // The first item's request names the batch in the log.
        tokio::spawn(async move { shared.serve(key, item).await }.in_current_span());
    }
}

impl<K: Clone + Eq + Hash, T, R> Shared<K, T, R> {
    /// Runs batches of `key` until no item waits.
    async fn serve(&self, key: K, first: Item<T, R>) {
        let mut batch = vec![first];
        while !batch.is_empty() {
            self.run_batch(key.clone(), batch).await;
            batch = self.next_batch(&key);
        }
    }

    fn next_batch(&self, key: &K) -> Vec<Item<T, R>> {
        let mut collecting = self.collecting();
        let Some(queue) = collecting.get_mut(key) else { return Vec::new() };
        let size = queue.len().min(self.max_size);
        let batch: Vec<_> = queue.drain(..size).collect();
        if batch.is_empty() {
            collecting.remove(key);
        }
        batch
    }

    async fn run_batch(&self, key: K, batch: Vec<Item<T, R>>) {
        crate::base::metrics::batch(self.kind, batch.len());
        let (values, senders): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|item| (item.value, item.answer)).unzip();
        let run = with_statement_counter(async { (self.run)(key, values).await });
        match AssertUnwindSafe(run).catch_unwind().await {
            Ok((answers, statements)) if answers.len() == senders.len() => {
                for (sender, answer) in senders.into_iter().zip(answers) {
                    // The client may be gone.
                    let _ = sender.send((answer, statements));
                }
            }
            Ok((answers, _)) => {
                error!(kind = self.kind, asked = senders.len(), answered = answers.len(), "a batch was lost");
            }
            Err(_) => error!(kind = self.kind, "a batch panicked"),
        }
    }

    fn collecting(&self) -> MutexGuard<'_, HashMap<K, VecDeque<Item<T, R>>>> {
        self.collecting.lock()
    }
}
