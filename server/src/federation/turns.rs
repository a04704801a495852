//! Turns of intake in a room. The database takes in the events of one room one statement after the other
//! anyway, as each locks the room. Local sends wait for the lock too: with turns they wait for one statement
//! of intake at most, and not for one of each origin whose events are taken in at the same time.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::{Instant, sleep};

use crate::base::cache::bounded;

/// How long a statement should take at most.
const LONGEST: Duration = Duration::from_millis(200);
/// After a statement that took longer, the room is left to others for as long.
const SHORT: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The number of rooms that are remembered.
const MAX_ROOMS: u64 = 10_000;

/// The turns of all rooms. Cheap to clone.
#[derive(Clone)]
pub struct Turns(Cache<String, Arc<Room>>);

#[derive(Default)]
struct Room {
    turn: Arc<Mutex<()>>,
    /// How long an event of the last statement took, in microseconds.
    micros: AtomicU64,
}

/// A turn, which lasts until [`Turn::end`] and the pause after it.
pub struct Turn {
    room: Arc<Room>,
    guard: OwnedMutexGuard<()>,
    began: Instant,
}

impl Turns {
    pub fn new() -> Self {
        Self(bounded(MAX_ROOMS).build())
    }

    /// Waits for a turn.
    pub async fn take(&self, room_id: &str) -> Turn {
        let room = self.room(room_id);
        let guard = Arc::clone(&room.turn).lock_owned().await;
        Turn { room, guard, began: Instant::now() }
    }

    /// How many events the next statement may have, of at most `most`.
    pub fn size(&self, room_id: &str, most: usize) -> usize {
        match self.room(room_id).micros.load(Ordering::Relaxed) {
            0 => most,
            micros => {
                usize::try_from(LONGEST.as_micros() / u128::from(micros)).unwrap_or(most).clamp(1, most)
            }
        }
    }

    fn room(&self, room_id: &str) -> Arc<Room> {
        self.0.get_with_by_ref(room_id, Arc::default)
    }
}

impl Turn {
    /// Ends the turn after a statement with this number of events.
    pub fn end(self, events: usize) {
        let took = self.began.elapsed();
        let events = u64::try_from(events).unwrap_or(u64::MAX).max(1);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) / events;
        self.room.micros.store(micros.max(1), Ordering::Relaxed);
        if took > SHORT {
            tokio::spawn(async move {
                sleep(took.min(LONGEST_PAUSE)).await;
                drop(self.guard);
            });
        }
    }
}
