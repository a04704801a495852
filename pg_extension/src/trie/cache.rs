//! The nodes that this backend has read. Nodes never change, and ids are never used twice, so a cached node
//! never becomes wrong.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use crate::trie::Node;

/// In nodes. Guessed: about 1.5 MB when full.
const CAPACITY: usize = 4096;

thread_local! {
    static NODES: RefCell<HashMap<i64, Rc<Node>>> = RefCell::default();
}

pub fn get(id: i64) -> Option<Rc<Node>> {
    NODES.with_borrow(|nodes| nodes.get(&id).cloned())
}

/// Remembers a node. A full cache is emptied: nodes in use are soon read again, and no order of use has to be
/// kept.
pub fn put(id: i64, node: &Rc<Node>) {
    NODES.with_borrow_mut(|nodes| {
        if nodes.len() >= CAPACITY {
            nodes.clear();
        }
        nodes.insert(id, Rc::clone(node));
    });
}
