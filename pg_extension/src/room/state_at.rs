//! The state at an event of a room.

use std::collections::BTreeMap;

use crate::{
    base::spi::Db,
    room::graph_events::{GraphEvent, Status},
    trie,
};

/// The state of a root, with one event replaced. The state after an event gets a root of its own only when
/// another event follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateAt {
    root: i64,
    with: Option<(i32, i64)>,
}

impl StateAt {
    pub const EMPTY: Self = Self { root: trie::EMPTY, with: None };

    /// The state of a root.
    pub fn root(root: i64) -> Self {
        Self { root, with: None }
    }

    /// The state of a root, with the event of one state key replaced.
    pub fn with(root: i64, key_idx: i32, event_nid: i64) -> Self {
        Self { root, with: Some((key_idx, event_nid)) }
    }

    /// The state after an event of the graph by its own branch; `None` if unknown.
    pub fn after_in_graph(event: &GraphEvent) -> Option<Self> {
        let with = event.key_idx.filter(|_| event.status != Status::Rejected);
        event.state_before.map(|root| Self { root, with: with.map(|key_idx| (key_idx, event.nid)) })
    }

    /// The nid of the event of a state key.
    pub fn get(self, db: &Db<'_>, key_idx: i32) -> Option<i64> {
        match self.with {
            Some((with, event_nid)) if with == key_idx => Some(event_nid),
            _ => trie::get(db, self.root, key_idx),
        }
    }

    /// The nids of the events of several state keys, in their order.
    pub fn get_many(self, db: &Db<'_>, keys: &[i32]) -> Vec<Option<i64>> {
        let mut found = trie::get_many(db, self.root, keys);
        if let Some((with, event_nid)) = self.with {
            for (key, found) in keys.iter().zip(&mut found) {
                if *key == with {
                    *found = Some(event_nid);
                }
            }
        }
        found
    }

    /// The changes from this state to another: event nids by `key_idx`.
    pub fn changes_to(self, db: &Db<'_>, to: Self) -> BTreeMap<i32, Option<i64>> {
        let mut changes: BTreeMap<i32, Option<i64>> = trie::diff(db, self.root, to.root)
            .into_iter()
            .map(|change| (change.key_idx, change.new))
            .collect();
        for (key_idx, _) in self.with.into_iter().chain(to.with) {
            let there = to.get(db, key_idx);
            if self.get(db, key_idx) == there {
                changes.remove(&key_idx);
            } else {
                changes.insert(key_idx, there);
            }
        }
        changes
    }
}
