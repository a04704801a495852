//! Who waits for what, and who has news: the wake-ups of long polls.
//!
//! A sync that found nothing waits here. Every write names the rooms and users that have news once it has committed:
//! [`Hub::wake`] wakes this node's waiters at once, and other nodes hear of it by `NOTIFY` ([`announce`]) or, should
//! that be lost, by looking at the newest events once a second ([`poll`]). A wake-up carries no content: the sync asks
//! the database again, so a needless one costs a statement and a repeated one nothing.
//!
//! The race between "nothing new" and "now I wait" is closed by marks: take [`Hub::mark`] before asking the database,
//! and [`Hub::wait`] returns at once if anything that concerns the waiter was woken since.

pub mod announce;
mod board;
mod payload;
pub mod poll;
mod topic;

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use self::board::{Board, Mark};
use self::topic::{Source, Topic};
use crate::base::current_request::client_gone;

/// Among the users to be woken, stands for whoever sends to other servers: no user has this `user_nid`.
const SENDERS: i64 = 0;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something may have changed: ask the database.
    News,
    /// The deadline passed.
    Timeout,
    /// The node shuts down, or the client is gone: answer with what there is.
    Shutdown,
}

/// The waiting syncs of this node. Cheap to clone.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    board: Mutex<Board>,
    /// What other nodes have yet to be told.
    outbox: Mutex<BTreeSet<Topic>>,
    outbox_filled: Notify,
    /// There is something to send to other servers.
    outgoing: Notify,
    draining: watch::Sender<bool>,
}

impl Hub {
    /// A hub on which nobody waits.
    pub fn new() -> Self {
        let shared = Shared {
            board: Mutex::new(Board::new()),
            outbox: Mutex::new(BTreeSet::new()),
            outbox_filled: Notify::new(),
            outgoing: Notify::new(),
            draining: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The place in the stream of wake-ups before a question to the database.
    pub fn mark(&self) -> Mark {
        self.board().mark()
    }

    /// Waits until `user_nid` or one of `rooms` has news since `mark`, or `deadline`.
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

    /// Wakes whoever waits for these rooms and users, here and on other nodes. Call it after the commit.
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

    /// Tells this node's sender that there is something to send to other servers. Other nodes find it by themselves.
    pub fn wake_senders(&self) {
        self.shared.outgoing.notify_one();
    }

    /// Waits until there may be something to send to other servers.
    pub async fn outgoing(&self) {
        self.shared.outgoing.notified().await;
    }

    /// Ends all waits, now and later: the node shuts down.
    pub fn drain(&self) {
        self.shared.draining.send_replace(true);
    }

    /// Whether [`Hub::drain`] was called.
    pub fn is_draining(&self) -> bool {
        *self.shared.draining.borrow()
    }

    fn wake_here(&self, topics: &[Topic], source: Source) {
        crate::base::metrics::wakes(source.name(), topics.len());
        self.board().wake(topics, source != Source::Poll);
    }

    /// Wakes everybody: wake-ups may have been missed.
    fn wake_all_here(&self) {
        self.board().wake_all();
    }

    fn register(&self, mark: Mark, user_nid: i64, rooms: &[i64]) -> Option<(Waiter, oneshot::Receiver<()>)> {
        let (id, news) = self.board().register(mark, user_nid, rooms)?;
        crate::base::metrics::sync_waiters(1.0);
        Some((Waiter { hub: self.clone(), user_nid, id }, news))
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.shared.board.lock()
    }
}

/// Takes its entry off the board when the wait ends or the client goes.
struct Waiter {
    hub: Hub,
    user_nid: i64,
    id: u64,
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.hub.board().forget(self.user_nid, self.id);
        crate::base::metrics::sync_waiters(-1.0);
    }
}
