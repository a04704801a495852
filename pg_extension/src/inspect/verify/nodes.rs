//! Checks the trie that stores the states.

use std::collections::HashMap;

use super::{BATCH, Verifier, View, report::Finding};
use crate::trie::{self, NodeCheck};

impl Verifier {
    /// Checks every node of the room's states. When repairing, wrong nodes are deleted: the states that
    /// contain them are built again.
    pub fn check_nodes(&mut self) {
        let mut check = NodeCheck::default();
        while self.with_view(|_, view| check.next(view.room.db, view.room.nid, BATCH)) > 0 {}
        self.with_view(|verifier, view| {
            check.finish(view.room.db, view.room.nid);
            let mut broken: Vec<(i64, &'static str)> = check.broken.into_iter().collect();
            broken.sort_unstable();
            let mut deleted = Vec::new();
            for (id, reason) in broken {
                let finding = Finding::new("state node").subject(format!("node_id {id}")).found(reason);
                if verifier.report.add(finding.expected("a node as its hash says").action("removed")) {
                    deleted.push(id);
                }
                verifier.broken_nodes.insert(id);
            }
            if !deleted.is_empty() {
                trie::delete_nodes(view.room.db, view.room.nid, deleted);
            }
        });
    }

    /// The roots that are missing or wrong, with the reason.
    pub fn wrong_roots(&self, view: &View<'_, '_>, mut roots: Vec<i64>) -> HashMap<i64, &'static str> {
        roots.sort_unstable();
        roots.dedup();
        let broken: Vec<i64> =
            roots.iter().copied().filter(|root| self.broken_nodes.contains(root)).collect();
        let mut wrong = trie::check_roots(view.room.db, view.room.nid, roots);
        wrong.extend(broken.into_iter().map(|root| (root, "the state is broken")));
        wrong
    }
}
