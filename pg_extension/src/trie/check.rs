//! Whether the nodes of a room are what they should be.

use std::collections::{HashMap, HashSet};

use crate::{
    base::spi::Db,
    trie::{EMPTY, update::hash},
};

/// A look at all nodes of a room, a batch at a time, in the order of their hashes. Remembers ids only.
#[derive(Default)]
pub struct NodeCheck {
    after: Vec<u8>,
    levels: HashMap<i64, i16>,
    /// Nodes named as children, with their level, that were not met yet.
    awaited: HashMap<i64, i16>,
    /// Events that leaves name, and that exist.
    events: HashSet<i64>,
    /// Why nodes are broken.
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

/// Leaves name events, whose numbers may be those of nodes.
const ABOVE: &str = "
    select node_id from state_nodes where room_nid = $1 and level > 0 and kids && $2";

const ROOTS: &str = "
    select n.node_id, n.level, cardinality(n.kids)
    from unnest($2) as wanted (node_id)
    cross join lateral (
        select * from state_nodes where node_id = wanted.node_id and room_nid = $1 offset 0
    ) n";

const DELETE: &str = "delete from state_nodes where room_nid = $1 and node_id = any($2)";

impl NodeCheck {
    /// Checks the next nodes: their hashes, that trailing absences are trimmed, and that leaves name events of the room.
    /// How many there were.
    pub fn next(&mut self, db: &Db<'_>, room_nid: i64, limit: usize) -> usize {
        let args = [room_nid.into(), self.after.clone().into(), (limit as i64).into()];
        let mut named: Vec<(i64, i64)> = Vec::new();
        let mut count = 0;
        for row in db.query(NODES, &args) {
            let (id, level): (i64, i16) = (row.get(1), row.get(2));
            let kids: Vec<Option<i64>> = row.get(3);
            self.after = row.get(4);
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
            self.events
                .extend(db.query(EVENTS, &[room_nid.into(), wanted.into()]).map(|row| row.get::<i64>(1)));
        }
        for (event, leaf) in named {
            if !self.events.contains(&event) {
                self.broken.insert(leaf, "a leaf names an event that is not in the room");
            }
        }
        count
    }

    /// Once all nodes were met: those that name absent or broken ones are broken too.
    pub fn finish(&mut self, db: &Db<'_>, room_nid: i64) {
        let mut bad: Vec<i64> = self.awaited.keys().copied().chain(self.broken.keys().copied()).collect();
        while !bad.is_empty() {
            let above = db.query(ABOVE, &[room_nid.into(), bad.into()]).map(|row| row.get(1));
            bad = above.filter(|id| !self.broken.contains_key(id)).collect();
            for id in &bad {
                self.broken.insert(*id, "a node below it is absent or broken");
            }
        }
    }
}

/// Takes broken nodes away, so that states are not built of them again.
pub fn delete_nodes(db: &Db<'_>, room_nid: i64, nodes: Vec<i64>) {
    db.execute(DELETE, &[room_nid.into(), nodes.into()]);
}

/// What is wrong with roots of states, by the roots that are not right.
pub fn check_roots(db: &Db<'_>, room_nid: i64, roots: Vec<i64>) -> HashMap<i64, &'static str> {
    let mut wrong: HashMap<i64, &'static str> =
        roots.iter().filter(|root| **root != EMPTY).map(|root| (*root, "there is no such state")).collect();
    for row in db.query(ROOTS, &[room_nid.into(), roots.into()]) {
        let (id, level, kids): (i64, i16, i32) = (row.get(1), row.get(2), row.get(3));
        wrong.remove(&id);
        if level > 0 && kids == 1 {
            wrong.insert(id, "the state is higher than its keys need");
        }
    }
    wrong
}
