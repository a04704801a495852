//! Checks that the nodes of a room are what [`set_many`](super::set_many) writes.

use std::collections::{HashMap, HashSet};

use crate::{
    base::spi::Db,
    trie::{EMPTY, update::hash},
};

/// A check of all nodes of a room, a batch at a time, in the order of their hashes. It keeps ids in memory,
/// not nodes.
#[derive(Default)]
pub struct NodeCheck {
    /// The hash of the last node that was checked.
    after: Vec<u8>,
    /// The level of each node that was checked.
    levels: HashMap<i64, i16>,
    /// Nodes that are named as children and were not checked yet, with the level they must have.
    awaited: HashMap<i64, i16>,
    /// Events that leaves name and that exist in the room.
    events: HashSet<i64>,
    /// The broken nodes, and what is wrong with each.
    pub broken: HashMap<i64, &'static str>,
}

const NODES: &str = "
    select node_id, level, kids, hash
    from state_nodes
    where room_nid = $1 and hash > $2
    order by hash
    limit $3";

const EVENTS: &str = "
    select e.event_nid
    from unnest($2) as wanted (event_nid)
    cross join lateral (
        select event_nid from events where event_nid = wanted.event_nid and room_nid = $1 offset 0
    ) e";

/// Only inner nodes: leaves hold event nids, which may equal ids of nodes.
const ABOVE: &str = "
    select node_id from state_nodes where room_nid = $1 and level > 0 and kids && $2";

const ROOTS: &str = "
    select n.node_id, n.level, cardinality(n.kids) as kids
    from unnest($2) as wanted (node_id)
    cross join lateral (
        select * from state_nodes where node_id = wanted.node_id and room_nid = $1 offset 0
    ) n";

const DELETE: &str = "delete from state_nodes where room_nid = $1 and node_id = any($2)";

impl NodeCheck {
    /// Checks up to `limit` more nodes: that the hash is right, that empty slots at the end are trimmed, that
    /// children are of the level below, and that leaves name events of the room. Returns how many nodes there
    /// were; 0 means that all were checked.
    pub fn next(&mut self, db: &Db<'_>, room_nid: i64, limit: usize) -> usize {
        let args = [room_nid.into(), self.after.clone().into(), (limit as i64).into()];
        let mut named: Vec<(i64, i64)> = Vec::new();
        let mut count = 0;
        for row in db.query(NODES, &args) {
            let (id, level): (i64, i16) = (row.get("node_id"), row.get("level"));
            let kids: Vec<Option<i64>> = row.get("kids");
            self.after = row.get("hash");
            count += 1;
            if level < 0 || hash(level as u32, &kids) != self.after {
                self.broken.insert(id, "the hash is not that of the children");
            } else if kids.last().is_none_or(Option::is_none) || kids.len() > super::RADIX {
                self.broken.insert(id, "the children are not trimmed");
            }
            self.levels.insert(id, level);
            self.awaited.remove(&id);
            for kid in kids.into_iter().flatten() {
                match self.levels.get(&kid) {
                    _ if level == 0 => named.push((kid, id)),
                    Some(below) if *below == level - 1 => {}
                    Some(_) => {
                        self.broken.insert(id, "a child is not of the level below");
                    }
                    None => {
                        self.awaited.insert(kid, level - 1);
                    }
                }
            }
        }
        named.retain(|(event, _)| !self.events.contains(event));
        let mut wanted: Vec<i64> = named.iter().map(|(event, _)| *event).collect();
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            self.events.extend(
                db.query(EVENTS, &[room_nid.into(), wanted.into()]).map(|row| row.get::<i64>("event_nid")),
            );
        }
        for (event, leaf) in named {
            if !self.events.contains(&event) {
                self.broken.insert(leaf, "a leaf names an event that is not in the room");
            }
        }
        count
    }

    /// Ends the check after all nodes were read: nodes above an absent or broken node are broken too.
    pub fn finish(&mut self, db: &Db<'_>, room_nid: i64) {
        let mut bad: Vec<i64> = self.awaited.keys().copied().chain(self.broken.keys().copied()).collect();
        while !bad.is_empty() {
            let above = db.query(ABOVE, &[room_nid.into(), bad.into()]).map(|row| row.get("node_id"));
            bad = above.filter(|id| !self.broken.contains_key(id)).collect();
            for id in &bad {
                self.broken.insert(*id, "a node below it is absent or broken");
            }
        }
    }
}

/// Deletes broken nodes, so that no new state shares them.
pub fn delete_nodes(db: &Db<'_>, room_nid: i64, nodes: Vec<i64>) {
    db.execute(DELETE, &[room_nid.into(), nodes.into()]);
}

/// Checks roots of states. Returns the wrong ones, and what is wrong with each.
pub fn check_roots(db: &Db<'_>, room_nid: i64, roots: Vec<i64>) -> HashMap<i64, &'static str> {
    let mut wrong: HashMap<i64, &'static str> =
        roots.iter().filter(|root| **root != EMPTY).map(|root| (*root, "there is no such state")).collect();
    for row in db.query(ROOTS, &[room_nid.into(), roots.into()]) {
        let (id, level, kids): (i64, i16, i32) = (row.get("node_id"), row.get("level"), row.get("kids"));
        wrong.remove(&id);
        if level > 0 && kids == 1 {
            wrong.insert(id, "the state is higher than its keys need");
        }
    }
    wrong
}
