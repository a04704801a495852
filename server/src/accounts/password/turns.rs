//! Turns at hashing passwords. Those who wait are served network by network, so that who asks for many hashes
//! waits for them, and others do not.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Turns for a few at a time. A clone is one more reference.
#[derive(Clone)]
pub struct Turns(Arc<Mutex<State>>);

struct State {
    free: usize,
    max_waiting: usize,
    waiting: usize,
    /// Those who wait, by what they are told apart by. No queue is empty.
    queues: HashMap<String, VecDeque<oneshot::Sender<Turn>>>,
    /// The keys of `queues`, in the order in which they are served.
    order: VecDeque<String>,
}

/// A turn, which ends when the value is dropped.
pub struct Turn(Option<Turns>);

impl Turns {
    /// `at_once` turns at a time, for which at most `max_waiting` wait.
    pub fn new(at_once: usize, max_waiting: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: at_once,
            max_waiting,
            waiting: 0,
            queues: HashMap::new(),
            order: VecDeque::new(),
        })))
    }

    /// Waits for a turn. `None` if too many wait: then the last of those of whom the most wait gives way.
    pub async fn take(&self, who: &str) -> Option<Turn> {
        let receiver = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Some(Turn(Some(self.clone())));
            }
            if state.waiting >= state.max_waiting && !state.make_room(who) {
                return None;
            }
            state.enqueue(who)
        };
        receiver.await.ok()
    }

    /// Passes a turn on to the next who waits.
    fn pass_on(&self) {
        loop {
            let next = self.0.lock().next();
            let Some(next) = next else { return };
            match next.send(Turn(Some(self.clone()))) {
                Ok(()) => return,
                // Who waited has gone.
                Err(mut turn) => turn.0 = None,
            }
        }
    }
}

impl State {
    fn enqueue(&mut self, who: &str) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        if !self.queues.contains_key(who) {
            self.order.push_back(who.to_owned());
        }
        self.queues.entry(who.to_owned()).or_default().push_back(sender);
        self.waiting += 1;
        receiver
    }

    /// Makes room for one more of `who`. Returns false if nobody has more who wait.
    fn make_room(&mut self, who: &str) -> bool {
        let own = self.queues.get(who).map_or(0, VecDeque::len);
        let longest = self.queues.iter_mut().max_by_key(|(_, queue)| queue.len());
        match longest {
            Some((_, queue)) if queue.len() > own + 1 => {
                queue.pop_back();
                self.waiting -= 1;
                true
            }
            _ => false,
        }
    }

    /// The next in turn. Without one, the turn is free.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let Some(who) = self.order.pop_front() else {
            self.free += 1;
            return None;
        };
        let queue = self.queues.get_mut(&who)?;
        let next = queue.pop_front();
        self.waiting -= usize::from(next.is_some());
        if queue.is_empty() {
            self.queues.remove(&who);
        } else {
            self.order.push_back(who);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}
