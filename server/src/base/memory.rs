//! One budget of memory for what others send: bodies of requests, and answers of other servers, from their
//! first byte until they are dealt with.
//!
//! What finds no room is refused at once. If it waited, what has arrived of it would take memory meanwhile,
//! and those who wait could hold each other up.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

/// A network may take this part of the budget, and a server that this one asked a larger one.
const SHARE_OF_NETWORK: usize = 4;
const SHARE_OF_SERVER: usize = 2;
/// This part of the budget is left to those who need little.
const RESERVE: usize = 8;
/// How many bytes are little.
const LITTLE: usize = 1024 * 1024;
/// What is not counted: the memory of a usual request. The number of connections bounds it.
const FREE: usize = 16 * 1024;

/// Whose bytes they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A network that requests come from.
    Network(IpAddr),
    /// A server that answers a request of this one.
    Server(String),
}

impl Holder {
    fn share(&self, budget: usize) -> usize {
        match self {
            Self::Network(_) => budget / SHARE_OF_NETWORK,
            Self::Server(_) => budget / SHARE_OF_SERVER,
        }
    }
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The holder has its share.
    Share,
    /// The budget is spent.
    Budget,
}

impl Full {
    /// The name of the limit, in the metric and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Share => "memory_share",
            Self::Budget => "memory",
        }
    }
}

/// The budget of a node. A clone is one more reference.
#[derive(Clone)]
pub struct Memory {
    budget: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by_holder: HashMap<Holder, usize>,
}

impl Memory {
    /// A budget of this many bytes.
    pub fn new(budget: usize) -> Self {
        Self { budget, taken: Arc::default() }
    }

    /// A reservation of nothing yet.
    pub fn reserve(&self, holder: Holder) -> Reservation {
        Reservation { memory: self.clone(), holder, bytes: 0 }
    }

    /// How many bytes are reserved.
    pub fn total(&self) -> usize {
        self.taken.lock().total
    }
}

/// A part of the budget, which is given back when the value is dropped.
pub struct Reservation {
    memory: Memory,
    holder: Holder,
    bytes: usize,
}

impl Reservation {
    /// Grows to this many bytes in total. If there is no room, it stays as it is.
    pub fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        if bytes <= FREE.max(self.bytes) {
            return Ok(());
        }
        let more = bytes - self.bytes;
        let budget = self.memory.budget;
        let budget_now = if bytes <= LITTLE { budget } else { budget - budget / RESERVE };
        let mut taken = self.memory.taken.lock();
        let of_holder = taken.by_holder.get(&self.holder).copied().unwrap_or_default();
        if of_holder + more > self.holder.share(budget) {
            return Err(Full::Share);
        }
        if taken.total + more > budget_now {
            return Err(Full::Budget);
        }
        taken.total += more;
        *taken.by_holder.entry(self.holder.clone()).or_default() += more;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives all of it back.
    pub fn release(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut taken = self.memory.taken.lock();
        taken.total -= self.bytes;
        if let Some(of_holder) = taken.by_holder.get_mut(&self.holder) {
            *of_holder -= self.bytes;
            if *of_holder == 0 {
                taken.by_holder.remove(&self.holder);
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release();
    }
}
