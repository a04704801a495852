//! The nodes that this backend has read. Nodes never change, and ids are never used twice, so a cached node
//! never becomes wrong.

use std::rc::Rc;

use crate::{base::cache::Cache, trie::Node};

/// In nodes. Guessed: about 1.5 MB when full.
const CAPACITY: usize = 4096;

thread_local! {
    static NODES: Cache<i64, Rc<Node>> = Cache::new(CAPACITY);
}

pub fn get(id: i64) -> Option<Rc<Node>> {
    NODES.with(|nodes| nodes.get(&id))
}

/// Remembers a node. A full cache is emptied: nodes in use are soon read again, and no order of use has to be
/// Keeps a node.
pub fn put(id: i64, node: &Rc<Node>) {
    NODES.with(|nodes| nodes.put(id, Rc::clone(node)));
}
