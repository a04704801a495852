//! Caches of what a backend has read, each of a bounded size.

use std::{cell::RefCell, hash::Hash};

use quick_cache::{Equivalent, UnitWeighter, Weighter, unsync};

/// A cache of one backend, for a `thread_local`. When it is full, entries that were not used lately go.
pub struct Cache<K, V, W = UnitWeighter>(RefCell<unsync::Cache<K, V, W>>);

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    /// Holds at most `capacity` entries.
    pub fn new(capacity: usize) -> Self {
        Self(RefCell::new(unsync::Cache::new(capacity)))
    }
}

impl<K: Eq + Hash, V: Clone, W: Weighter<K, V>> Cache<K, V, W> {
    /// Holds entries of a total weight of at most `capacity`, `expected` of them as a rule.
    pub fn weighted(expected: usize, capacity: u64, weighter: W) -> Self {
        Self(RefCell::new(unsync::Cache::with_weighter(expected, capacity, weighter)))
    }

    /// The value of a key, if it is still there.
    pub fn get<Q: Hash + Equivalent<K> + ?Sized>(&self, key: &Q) -> Option<V> {
        self.0.borrow().get(key).cloned()
    }

    /// Keeps the value of a key, in the place of an earlier one.
    pub fn put(&self, key: K, value: V) {
        self.0.borrow_mut().insert(key, value);
    }
}
