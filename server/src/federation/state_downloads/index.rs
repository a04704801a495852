//! The events of a download and which of them cite which: the part of a large state that is kept in memory.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Numbers the events that were received and those that they cite.
#[derive(Debug, Default)]
pub struct Index {
    numbers: HashMap<Arc<str>, u32>,
    ids: Vec<Arc<str>>,
    came: Vec<Option<Came>>,
    /// How many were received.
    pub count: u32,
}

/// An event that was received.
#[derive(Debug)]
struct Came {
    auth_events: Box<[u32]>,
    bytes: u32,
    is_state: bool,
    is_stored: bool,
}

impl Index {
    fn number(&mut self, event_id: &str) -> u32 {
        if let Some(number) = self.numbers.get(event_id) {
            return *number;
        }
        let number = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let event_id: Arc<str> = event_id.into();
        self.numbers.insert(Arc::clone(&event_id), number);
        self.ids.push(event_id);
        self.came.push(None);
        number
    }

    fn came(&mut self, number: u32) -> Option<&mut Came> {
        self.came.get_mut(number as usize)?.as_mut()
    }

    /// Adds an event. Returns its number, or `None` if it was received before.
    pub fn add(
        &mut self,
        event_id: &str,
        auth_events: &[String],
        bytes: usize,
        is_state: bool,
    ) -> Option<u32> {
        let number = self.number(event_id);
        if let Some(known) = self.came(number) {
            known.is_state |= is_state;
            return None;
        }
        let auth_events = auth_events.iter().map(|id| self.number(id)).collect();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.came[number as usize] = Some(Came { auth_events, bytes, is_state, is_stored: false });
        self.count += 1;
        Some(number)
    }

    /// How many events are in memory: those that were received, and those that they cite.
    pub fn size(&self) -> u32 {
        u32::try_from(self.ids.len()).unwrap_or(u32::MAX)
    }

    pub fn note_stored(&mut self, number: u32) {
        if let Some(came) = self.came(number) {
            came.is_stored = true;
        }
    }

    /// As [`Self::note_stored`], by the event's id.
    pub fn note_stored_id(&mut self, event_id: &str) {
        if let Some(number) = self.numbers.get(event_id).copied() {
            self.note_stored(number);
        }
    }

    /// The ids of the state events that were stored.
    pub fn stored_state(&self) -> Vec<String> {
        let stored = |came: &&Option<Came>| came.as_ref().is_some_and(|came| came.is_state && came.is_stored);
        let of = self.came.iter().zip(&self.ids).filter(|(came, _)| stored(came));
        of.map(|(_, id)| id.to_string()).collect()
    }

    /// All received events in topological order. Leaves out events that cite each other in a circle, and
    /// events that cite those.
    pub fn in_order(&self) -> Vec<u32> {
        let cited = |came: &Came| -> Vec<u32> {
            let mut cited: Vec<u32> = came.auth_events.to_vec();
            cited.retain(|number| self.came[*number as usize].is_some());
            cited.sort_unstable();
            cited.dedup();
            cited
        };
        let mut waiting_for = vec![0_u32; self.came.len()];
        // The citing events, only for cited events, which are few.
        let mut cited_by: HashMap<u32, Vec<u32>> = HashMap::new();
        let mut ready = VecDeque::new();
        for (number, came) in (0..).zip(&self.came) {
            let Some(came) = came else { continue };
            let cited = cited(came);
            waiting_for[number as usize] = u32::try_from(cited.len()).unwrap_or(u32::MAX);
            if cited.is_empty() {
                ready.push_back(number);
            }
            cited.into_iter().for_each(|cited| cited_by.entry(cited).or_default().push(number));
        }
        let mut order = Vec::with_capacity(self.count as usize);
        while let Some(number) = ready.pop_front() {
            order.push(number);
            for citing in cited_by.remove(&number).unwrap_or_default() {
                waiting_for[citing as usize] -= 1;
                if waiting_for[citing as usize] == 0 {
                    ready.push_back(citing);
                }
            }
        }
        order
    }

    /// Splits numbers into parts of at most `max_events` and `max_bytes`.
    pub fn parts(&self, numbers: &[u32], max_events: usize, max_bytes: usize) -> Vec<Vec<u32>> {
        let mut parts: Vec<Vec<u32>> = Vec::new();
        let mut bytes = 0;
        for &number in numbers {
            let size = self.came[number as usize].as_ref().map_or(0, |came| came.bytes as usize);
            let fits = parts.last().is_some_and(|part| part.len() < max_events) && bytes + size <= max_bytes;
            if !fits {
                parts.push(Vec::new());
                bytes = 0;
            }
            bytes += size;
            if let Some(part) = parts.last_mut() {
                part.push(number);
            }
        }
        parts
    }
}
