//! The difference of two states, reading only the subtrees that differ.

use crate::{
    base::spi::Db,
    trie::{BITS, EMPTY, RADIX, load},
};

/// A key whose event differs between two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub key_idx: i32,
    /// The event in the first state; `None` where it has no such key.
    pub old: Option<i64>,
    /// The event in the second state.
    pub new: Option<i64>,
}

/// The subtrees of the two states that hold the same range of keys.
struct Pair {
    old: Option<i64>,
    new: Option<i64>,
    /// The number of the range: the first key divided by the size of the range.
    prefix: i32,
}

/// The keys whose events differ between the states of two roots, in the order of the keys.
pub fn diff(db: &Db<'_>, old: i64, new: i64) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let [old, new] = [old, new].map(|root| (root != EMPTY).then_some(root));
    let roots = load(db, old.into_iter().chain(new));
    let height = |root: Option<i64>| root.map(|root| roots[&root].level);
    let (old_level, new_level) = (height(old), height(new));
    let top = old_level.max(new_level).unwrap_or(0);

    let mut changes = Vec::new();
    let mut pairs = vec![Pair { old, new, prefix: 0 }];
    for level in (0..=top).rev() {
        // The lower of two trees is compared as if nodes above it held it in slot 0.
        let is_below = |height: Option<u32>| height.is_some_and(|height| height < level);
        let nodes = load(db, pairs.iter().flat_map(|pair| [pair.old, pair.new]).flatten());
        let kid = |node: Option<i64>, height: Option<u32>, prefix: i32, slot: usize| {
            let node = node?;
            if prefix == 0 && is_below(height) {
                return (slot == 0).then_some(node);
            }
            nodes[&node].kid(slot)
        };
        let mut below = Vec::new();
        for pair in &pairs {
            for slot in 0..RADIX {
                let old = kid(pair.old, old_level, pair.prefix, slot);
                let new = kid(pair.new, new_level, pair.prefix, slot);
                if old == new {
                    continue;
                }
                let prefix = (pair.prefix << BITS) + slot as i32;
                if level == 0 {
                    changes.push(Change { key_idx: prefix, old, new });
                } else {
                    below.push(Pair { old, new, prefix });
                }
            }
        }
        pairs = below;
    }
    changes
}
