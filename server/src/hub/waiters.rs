//! The waiters of a hub by user and room, and the latest wake-ups.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::topic::Topic;

/// How many wake-ups are remembered. With an older mark, a wait ends at once.
const REMEMBERED: usize = 8192;
/// How long a user's rooms are kept after the last wait, for the next sync of the same client.
const KEPT_IDLE: Duration = Duration::from_secs(120);

/// The number of wake-ups at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark(u64);

/// A user with syncs that wait, or that waited recently.
struct User {
    /// In ascending order.
    rooms: Vec<i64>,
    waiting: Vec<(u64, oneshot::Sender<()>)>,
    last_seen: Instant,
}

/// Waiters by user, and users by room. A user's rooms are kept between two syncs, so that a wait only
/// compares them instead of inserting each.
pub struct Waiters {
    /// The number of the next wake-up.
    next: u64,
    /// The latest wake-ups; the last one has the number `next - 1`.
    recent: VecDeque<Topic>,
    users: HashMap<i64, User>,
    /// `(room_nid, user_nid)`
    by_room: BTreeSet<(i64, i64)>,
    next_waiter: u64,
    /// The number of wake-ups of each room since the last poll, local ones and those of other nodes.
    heard: HashMap<i64, u32>,
    last_sweep: Instant,
}

impl Waiters {
    pub fn new() -> Self {
        Self {
            next: 0,
            recent: VecDeque::with_capacity(REMEMBERED),
            users: HashMap::new(),
            by_room: BTreeSet::new(),
            next_waiter: 0,
            heard: HashMap::new(),
            last_sweep: Instant::now(),
        }
    }

    pub fn mark(&self) -> Mark {
        Mark(self.next)
    }

    /// Adds a waiter. `None` if it has news since `mark`.
    pub fn register(
        &mut self,
        mark: Mark,
        user_nid: i64,
        rooms: &[i64],
    ) -> Option<(u64, oneshot::Receiver<()>)> {
        let mut rooms = rooms.to_vec();
        rooms.sort_unstable();
        rooms.dedup();
        if self.woken_since(mark, user_nid, &rooms) {
            return None;
        }
        self.set_rooms(user_nid, rooms);
        let id = self.next_waiter;
        self.next_waiter += 1;
        let (sender, receiver) = oneshot::channel();
        // `set_rooms` has just added the user.
        self.users.get_mut(&user_nid)?.waiting.push((id, sender));
        Some((id, receiver))
    }

    /// Removes a waiter, if it still waits.
    pub fn forget(&mut self, user_nid: i64, id: u64) {
        if let Some(user) = self.users.get_mut(&user_nid) {
            user.waiting.retain(|(waiting, _)| *waiting != id);
            user.last_seen = Instant::now();
        }
    }

    /// Wakes the waiters of `topics`. `heard` is false for news that polling found.
    pub fn wake(&mut self, topics: &[Topic], heard: bool) {
        for &topic in topics {
            if self.recent.len() == REMEMBERED {
                self.recent.pop_front();
            }
            self.recent.push_back(topic);
            self.next += 1;
            match topic {
                Topic::User(user_nid) => wake_user(&mut self.users, user_nid),
                Topic::Room(room_nid) => {
                    for &(_, user_nid) in self.by_room.range((room_nid, i64::MIN)..=(room_nid, i64::MAX)) {
                        wake_user(&mut self.users, user_nid);
                    }
                    if heard {
                        *self.heard.entry(room_nid).or_default() += 1;
                    }
                }
            }
        }
    }

    /// Wakes all waiters, and makes those return at once that have taken a mark and do not wait yet.
    pub fn wake_all(&mut self) {
        self.recent.clear();
        self.next += 1;
        for user in self.users.values_mut() {
            user.wake();
        }
    }

    /// Returns the number of wake-ups by room since the last call. Also removes users that have not waited
    /// for long.
    pub fn take_heard(&mut self) -> HashMap<i64, u32> {
        if self.last_sweep.elapsed() > KEPT_IDLE / 2 {
            self.sweep();
        }
        std::mem::take(&mut self.heard)
    }

    fn sweep(&mut self) {
        self.last_sweep = Instant::now();
        let Self { users, by_room, .. } = self;
        users.retain(|user_nid, user| {
            let keep = !user.waiting.is_empty() || user.last_seen.elapsed() < KEPT_IDLE;
            if !keep {
                for room_nid in &user.rooms {
                    by_room.remove(&(*room_nid, *user_nid));
                }
            }
            keep
        });
    }

    fn woken_since(&self, mark: Mark, user_nid: i64, rooms: &[i64]) -> bool {
        let missed = self.next.saturating_sub(mark.0);
        let Ok(missed) = usize::try_from(missed) else { return true };
        if missed > self.recent.len() {
            return true;
        }
        self.recent.iter().rev().take(missed).any(|topic| match topic {
            Topic::User(nid) => *nid == user_nid,
            Topic::Room(nid) => rooms.binary_search(nid).is_ok(),
        })
    }

    /// Sets the rooms whose news wake the user. Keeps the rooms of other waiting syncs of the user, which may
    /// be from a newer answer.
    fn set_rooms(&mut self, user_nid: i64, rooms: Vec<i64>) {
        let Self { users, by_room, .. } = self;
        let user = users.entry(user_nid).or_insert_with(|| User {
            rooms: Vec::new(),
            waiting: Vec::new(),
            last_seen: Instant::now(),
        });
        user.last_seen = Instant::now();
        if user.rooms == rooms {
            return;
        }
        let mut wanted = rooms;
        if user.waiting.is_empty() {
            for room_nid in &user.rooms {
                by_room.remove(&(*room_nid, user_nid));
            }
        } else {
            wanted.extend_from_slice(&user.rooms);
            wanted.sort_unstable();
            wanted.dedup();
        }
        by_room.extend(wanted.iter().map(|room_nid| (*room_nid, user_nid)));
        user.rooms = wanted;
    }
}

impl User {
    fn wake(&mut self) {
        for (_, sender) in self.waiting.drain(..) {
            // The receiver is gone if the client disconnected.
            let _ = sender.send(());
        }
    }
}

fn wake_user(users: &mut HashMap<i64, User>, user_nid: i64) {
    if let Some(user) = users.get_mut(&user_nid) {
        user.wake();
    }
}
