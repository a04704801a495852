//! The wake-ups of long polls: which users wait, and which rooms and users have news.
//!
//! A sync without news waits here. After its commit, every write names the rooms and users that have news.
//! [`Hub::wake`] wakes this node's waiters at once. Other nodes are told by `NOTIFY` ([`announce`]) or, if
//! that is lost, find the newest events once a second ([`poll`]). A wake-up has no content: the sync queries
//! the database again, so a needless one costs a statement and a repeated one nothing.
//!
//! Marks prevent lost wake-ups between the query and the wait: take [`Hub::mark`] before the query, and
//! [`Hub::wait`] returns at once if anything that concerns the waiter was woken since then.

pub mod announce;
mod payload;
pub mod poll;
mod topic;
mod waiters;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use self::topic::{Source, Topic};
use self::waiters::{Mark, Waiters};
use crate::base::current_request::client_gone;

/// In `wake_users`, stands for the tasks that send to other servers. No user has this `user_nid`.
const SENDERS: i64 = 0;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may have changed: query the database.
    News,
    /// The deadline passed.
    Timeout,
    /// The node drains, or the client is gone: answer without waiting.
    Shutdown,
}

/// The waiting syncs of this node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    waiters: Mutex<Waiters>,
    /// Wake-ups that other nodes must still be told.
    outbox: Mutex<BTreeSet<Topic>>,
    outbox_filled: Notify,
    /// Notified if there may be something to send to other servers.
    outgoing: Notify,
    draining: watch::Sender<bool>,
}

impl Hub {
    /// A hub without waiters.
    pub fn new() -> Self {
        let shared = Shared {
            waiters: Mutex::new(Waiters::new()),
            outbox: Mutex::new(BTreeSet::new()),
            outbox_filled: Notify::new(),
            outgoing: Notify::new(),
            draining: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The number of wake-ups so far. Take it before querying the database.
    pub fn mark(&self) -> Mark {
        self.waiters().mark()
    }

    /// Waits until `user_nid` or one of `rooms` has news since `mark`, or until `deadline`.
    pub async fn wait(&self, mark: Mark, user_nid: i64, rooms: &[i64], deadline: Instant) -> Woken {
        let mut draining = self.shared.draining.subscribe();
        if *draining.borrow() {
            return Woken::Shutdown;
        }
        let Some((waiter, news)) = self.register(mark, user_nid, rooms) else { return Woken::News };
        let woken = tokio::select! {
            _ = news => Woken::News,
            () = tokio::time::sleep_until(deadline) => Woken::Timeout,
            _ = draining.wait_for(|draining| *draining) => Woken::Shutdown,
            () = client_gone() => Woken::Shutdown,
        };
        drop(waiter);
        woken
    }

    /// Wakes waiters for these rooms and users, on this and on other nodes. Call it after the commit.
    pub fn wake(&self, rooms: &[i64], users: &[i64]) {
        let is_user = |user: &i64| *user != SENDERS;
        if !users.iter().all(is_user) {
            self.wake_senders();
        }
        let users = users.iter().copied().filter(is_user).map(Topic::User);
        let topics: Vec<_> = rooms.iter().copied().map(Topic::Room).chain(users).collect();
        if topics.is_empty() {
            return;
        }
        self.wake_here(&topics, Source::Local);
        self.shared.outbox.lock().extend(topics);
        self.shared.outbox_filled.notify_one();
    }

    /// Wakes this node's task that sends to other servers. Those of other nodes poll.
    pub fn wake_senders(&self) {
        self.shared.outgoing.notify_one();
    }

    /// Waits until there may be something to send to other servers.
    pub async fn outgoing(&self) {
        self.shared.outgoing.notified().await;
    }

    /// Ends all current and future waits, because the node shuts down.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Whether [`Hub::drain`] was called.
    pub fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    fn wake_here(&self, topics: &[Topic], source: Source) {
        crate::base::metrics::wakes(source.name(), topics.len());
        self.waiters().wake(topics, source != Source::Poll);
    }

    /// Wakes all waiters, because wake-ups may have been missed.
    fn wake_all_here(&self) {
        self.waiters().wake_all();
    }

    fn register(&self, mark: Mark, user_nid: i64, rooms: &[i64]) -> Option<(Waiter, oneshot::Receiver<()>)> {
        let (id, news) = self.waiters().register(mark, user_nid, rooms)?;
        crate::base::metrics::sync_waiters(1.0);
        Some((Waiter { hub: self.clone(), user_nid, id }, news))
    }

    fn waiters(&self) -> MutexGuard<'_, Waiters> {
        self.shared.waiters.lock()
    }
}

/// Removes the waiter when the wait ends or the client disconnects.
struct Waiter {
    hub: Hub,
    user_nid: i64,
    id: u64,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.hub.waiters().forget(self.user_nid, self.id);
        crate::base::metrics::sync_waiters(-1.0);
    }
}
