//! Bounded caches, which drop the entries that were not used for the longest time.

use std::hash::Hash;

use moka::policy::EvictionPolicy;
use moka::sync::{Cache, CacheBuilder};

/// A cache of at most `max` entries, or of this total weight if the builder gets a weigher.
pub fn bounded<K, V>(max: u64) -> CacheBuilder<K, V, Cache<K, V>>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(max).eviction_policy(EvictionPolicy::lru())
}
