//! Combines requests that arrive together into one statement.
//!
//! While one batch of a key runs, the next collects items. An item waits for no timer, so an idle server
//! answers at once and a busy one makes bigger batches.
//!
//! A batch that takes too long holds up only the items of its groups: a group is what makes items slow
//! together, such as their user or their room. The next batch starts without these. As each item of the slow
//! batch could be the reason, its groups then share smaller and smaller batches until one of them is by
//! itself.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use moka::sync::Cache;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::{Instrument, error};

use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::base::statements::{count_statements, with_statement_counter};

/// How long a batch may take before others of its key need not wait for it. Batches of a busy server take
/// much less.
const OVERDUE: Duration = Duration::from_millis(500);
/// The most batches, of all keys together, that others need not wait for: each holds a connection.
const MAX_OVERDUE: usize = 4;
/// How long a group that was slow by itself shares no batch.
const APART: Duration = Duration::from_secs(600);
/// How many slow groups are remembered.
const REMEMBERED: u64 = 10_000;

/// The hash of what makes items slow together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group(u64);

impl Group {
    /// The group of the items with this value.
    pub fn of(value: impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        Self(hasher.finish())
    }
}

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
    /// [`OVERDUE`]; less in tests.
    overdue: Duration,
    queues: Mutex<Queues<K, T, R>>,
    /// The greatest batch that groups may be in which were in an overdue one; 0 for a group that was so by
    /// itself.
    shares: Cache<Group, usize>,
}

struct Queues<K, T, R> {
    /// A key for which nothing runs has no entry.
    by_key: HashMap<K, Queue<T, R>>,
    /// How many batches run that others do not wait for.
    overdue: usize,
}

/// The items of a key.
struct Queue<T, R> {
    waiting: VecDeque<Item<T, R>>,
    /// Whether a batch runs that the others wait for.
    is_running: bool,
    /// The groups of overdue batches, whose other items wait.
    held: HashSet<Group>,
}

struct Item<T, R> {
    value: T,
    group: Group,
    answer: oneshot::Sender<Answer<R>>,
}

impl<T, R> Default for Queue<T, R> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), is_running: false, held: HashSet::new() }
    }
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
        Self::with_overdue(kind, max_size, OVERDUE, run)
    }

    fn with_overdue<F>(
        kind: &'static str,
        max_size: usize,
        overdue: Duration,
        run: impl Fn(K, Vec<T>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let run = Box::new(move |key, items| run(key, items).boxed());
        let queues = Mutex::new(Queues { by_key: HashMap::new(), overdue: 0 });
        let shares = bounded(REMEMBERED).time_to_live(APART).build();
        let max_size = max_size.max(1);
        Self { shared: Arc::new(Shared { kind, max_size, run, overdue, queues, shares }) }
    }

    /// Puts `value` into the next batch of `key`, or into a later one if its group is slow, and waits for its
    /// answer.
    pub async fn submit(&self, key: K, group: Group, value: T) -> Result<R, BatchLost> {
        let (sender, receiver) = oneshot::channel();
        self.shared.enter(key, Item { value, group, answer: sender });
        let (answer, statements) = receiver.await.map_err(|_| BatchLost)?;
        count_statements(statements);
        Ok(answer)
    }
}

impl<K, T, R> Shared<K, T, R>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Send + 'static,
    R: Send + 'static,
{
    fn enter(self: &Arc<Self>, key: K, item: Item<T, R>) {
        let mut queues = self.queues();
        let queue = queues.by_key.entry(key.clone()).or_default();
        queue.waiting.push_back(item);
        self.start(queue, key);
    }

    /// Starts the next batch of a key, unless one runs that must be waited for.
    fn start(self: &Arc<Self>, queue: &mut Queue<T, R>, key: K) {
        if queue.is_running {
            return;
        }
        let batch = self.take_batch(queue);
        if batch.is_empty() {
            return;
        }
        queue.is_running = true;
        let shared = Arc::clone(self);
        // The request of an item of the first batch names them all in the log.
        tokio::spawn(async move { shared.serve(key, batch).await }.in_current_span());
    }

    /// Runs batches of `key` until no item waits, or another task does.
    async fn serve(self: Arc<Self>, key: K, mut batch: Vec<Item<T, R>>) {
        while !batch.is_empty() {
            let groups: Vec<Group> = batch.iter().map(|item| item.group).collect();
            let mut run = pin!(self.run_batch(key.clone(), batch));
            let (mut is_overdue, mut is_let_go) = (false, false);
            while timeout(self.overdue, run.as_mut()).await.is_err() {
                is_overdue = true;
                is_let_go = is_let_go || self.let_go(&key, &groups);
            }
            self.note_share(&groups, is_overdue);
            batch = self.next_batch(&key, &groups, is_let_go);
        }
    }

    /// Lets the other groups of the key go on beside an overdue batch. Returns whether that is possible.
    fn let_go(self: &Arc<Self>, key: &K, groups: &[Group]) -> bool {
        let mut queues = self.queues();
        if queues.overdue >= MAX_OVERDUE {
            return false;
        }
        queues.overdue += 1;
        let queue = queues.by_key.entry(key.clone()).or_default();
        queue.held.extend(groups);
        queue.is_running = false;
        self.start(queue, key.clone());
        true
    }

    /// Remembers the groups of an overdue batch, and forgets those of another.
    fn note_share(&self, groups: &[Group], is_overdue: bool) {
        for group in groups {
            if is_overdue {
                self.shares.insert(*group, groups.len() / 2);
            } else if self.shares.get(group).is_some_and(|share| share > 0) {
                self.shares.invalidate(group);
            }
        }
    }

    /// The batch after one of these groups; empty if there is none, or if another task runs batches of the
    /// key since that one was let go.
    fn next_batch(&self, key: &K, groups: &[Group], is_let_go: bool) -> Vec<Item<T, R>> {
        let mut queues = self.queues();
        queues.overdue -= usize::from(is_let_go);
        let Some(queue) = queues.by_key.get_mut(key) else { return Vec::new() };
        if is_let_go {
            groups.iter().for_each(|group| {
                queue.held.remove(group);
            });
            if queue.is_running {
                return Vec::new();
            }
        }
        let batch = self.take_batch(queue);
        queue.is_running = !batch.is_empty();
        if !queue.is_running && queue.waiting.is_empty() && queue.held.is_empty() {
            queues.by_key.remove(key);
        }
        batch
    }

    /// Takes the items of the next batch. Those of groups that are held stay, and those whose batch must be
    /// smaller.
    fn take_batch(&self, queue: &mut Queue<T, R>) -> Vec<Item<T, R>> {
        let mut batch: Vec<Item<T, R>> = Vec::new();
        let mut left = VecDeque::new();
        let mut max_size = self.max_size;
        while batch.len() < max_size {
            let Some(item) = queue.waiting.pop_front() else { break };
            let share = self.shares.get(&item.group).map_or(self.max_size, |share| share.max(1));
            if queue.held.contains(&item.group) || batch.len() >= share {
                left.push_back(item);
            } else {
                max_size = max_size.min(share);
                batch.push(item);
            }
        }
        left.append(&mut queue.waiting);
        queue.waiting = left;
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

    fn queues(&self) -> MutexGuard<'_, Queues<K, T, R>> {
        self.queues.lock()
    }
}
