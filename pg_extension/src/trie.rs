//! Room state as a persistent trie: the only file that knows how `state_nodes` is laid out.
//!
//! A state maps `key_idx` (dense per room, see `room_state_keys`) to `event_nid`. The trie is a radix-32
//! vector tree: leaves hold event nids, inner nodes hold node ids. Each state has one canonical shape (empty
//! slots at the end of a node are trimmed, and the tree is no higher than its highest key needs), and equal
//! nodes of a room are stored once, found by their hash. So *equal states have equal roots*, whatever changes
//! led to them. Root [`EMPTY`] is the empty state. Nodes never change, so each backend caches them.

mod cache;
mod check;
mod diff;
mod state;
mod update;

use std::{collections::HashMap, rc::Rc};

use pgrx::check_for_interrupts;

pub use self::{
    check::{NodeCheck, check_roots, delete_nodes},
    diff::{Change, diff},
    update::set_many,
};
use crate::base::spi::Db;

/// The root of the empty state. Not stored.
pub const EMPTY: i64 = 0;

const BITS: u32 = 5;
const RADIX: usize = 1 << BITS;

/// A row of `state_nodes`.
struct Node {
    /// 0 for leaves.
    level: u32,
    kids: Vec<Option<i64>>,
}

impl Node {
    fn kid(&self, slot: usize) -> Option<i64> {
        self.kids.get(slot).copied().flatten()
    }
}

/// The slot that leads to a key in a node at `level`.
fn slot(key_idx: i32, level: u32) -> usize {
    (key_idx >> (BITS * level)) as usize % RADIX
}

/// Whether a tree whose root is at `level` is high enough to hold the key.
fn reaches(level: u32, key_idx: i32) -> bool {
    i64::from(key_idx) >> (BITS * (level + 1)) == 0
}

/// The event of one key in a state.
pub fn get(db: &Db<'_>, root: i64, key_idx: i32) -> Option<i64> {
    get_many(db, root, &[key_idx])[0]
}

/// The events of several keys in a state, in the order of `keys`. Runs at most one query for each level of
/// the tree.
pub fn get_many(db: &Db<'_>, root: i64, keys: &[i32]) -> Vec<Option<i64>> {
    if root == EMPTY {
        return vec![None; keys.len()];
    }
    let level = load(db, [root])[&root].level;
    let mut at: Vec<Option<i64>> = keys.iter().map(|&key| reaches(level, key).then_some(root)).collect();
    for level in (0..=level).rev() {
        let nodes = load(db, at.iter().flatten().copied());
        for (at, &key) in at.iter_mut().zip(keys) {
            *at = at.and_then(|node| nodes[&node].kid(slot(key, level)));
        }
    }
    at
}

/// Reads the root nodes of several states into the cache in one query, for lookups in one state after
/// another.
pub fn prefetch(db: &Db<'_>, roots: impl IntoIterator<Item = i64>) {
    load(db, roots.into_iter().filter(|root| *root != EMPTY));
}

/// All entries of a state, in the order of the keys.
pub fn entries(db: &Db<'_>, root: i64) -> Vec<(i32, i64)> {
    diff(db, EMPTY, root).into_iter().filter_map(|change| Some((change.key_idx, change.new?))).collect()
}

const LOAD: &str = "select node_id, level, kids from state_nodes where node_id = any($1)";

/// Nodes by their ids. One query reads those that the cache lacks.
///
/// # Panics
///
/// If a node does not exist: the root is no root of a state, or nodes in use were deleted.
fn load(db: &Db<'_>, ids: impl IntoIterator<Item = i64>) -> HashMap<i64, Rc<Node>> {
    check_for_interrupts!();
    let mut nodes = HashMap::new();
    let mut missing = Vec::new();
    for id in ids {
        if nodes.contains_key(&id) {
            continue;
        }
        match cache::get(id) {
            Some(node) => {
                nodes.insert(id, node);
            }
            None => missing.push(id),
        }
    }
    if missing.is_empty() {
        return nodes;
    }
    missing.sort_unstable();
    missing.dedup();
    let wanted = missing.len();
    let mut found = 0;
    for row in db.query(LOAD, &[missing.into()]) {
        let id = row.get("node_id");
        let level: i16 = row.get("level");
        let node = Rc::new(Node { level: level as u32, kids: row.get("kids") });
        cache::put(id, &node);
        nodes.insert(id, node);
        found += 1;
    }
    assert!(found == wanted, "{} of {wanted} state nodes do not exist", wanted - found);
    nodes
}
