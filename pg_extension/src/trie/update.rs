//! Makes new states from old ones: copies the paths to the changed keys, with one insert for each level of
//! the tree.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest, Sha256};

use crate::{
    base::spi::Db,
    trie::{BITS, EMPTY, RADIX, load, reaches},
};

/// The children of each node to be written on a level, by the node's index on that level.
type Kids = BTreeMap<i32, Vec<Option<i64>>>;

/// Applies `changes` to the state of `root` and returns the new root; `None` removes a key. Keys are not
/// negative. The caller holds the room's lock. From [`EMPTY`], one call builds a whole state, bottom-up.
pub fn set_many(db: &Db<'_>, room_nid: i64, root: i64, changes: &BTreeMap<i32, Option<i64>>) -> i64 {
    let Some(&last) = changes.keys().next_back() else { return root };
    let old = (root != EMPTY).then_some(root);
    let old_level = old.map(|root| load(db, [root])[&root].level);
    let mut top = old_level.unwrap_or(0);
    while !reaches(top, last) {
        top += 1;
    }

    let mut levels = paths(db, old, old_level, top, changes);
    for (&key, &event) in changes {
        let kids = levels[0].get_mut(&(key >> BITS)).expect("paths lead to every changed key");
        set_child(kids, key, event);
    }
    for level in 0..=top {
        let mut nodes = std::mem::take(&mut levels[level as usize]);
        nodes.values_mut().for_each(trim);
        if level == top {
            let kids = nodes.remove(&0).unwrap_or_default();
            return new_root(db, room_nid, top, kids);
        }
        let ids = insert(db, room_nid, level, &nodes);
        for prefix in nodes.keys() {
            let kids =
                levels[level as usize + 1].get_mut(&(prefix >> BITS)).expect("every node has its parent");
            set_child(kids, *prefix, ids.get(prefix).copied());
        }
    }
    unreachable!("the top level returns")
}

/// The nodes above the changed keys, by level (leaves first).
fn paths(
    db: &Db<'_>,
    old: Option<i64>,
    old_level: Option<u32>,
    top: u32,
    changes: &BTreeMap<i32, Option<i64>>,
) -> Vec<Kids> {
    let mut levels = vec![Kids::new(); top as usize + 1];
    let mut ids: HashMap<i32, i64> = old.map(|root| (0, root)).into_iter().collect();
    for level in (0..=top).rev() {
        let mut prefixes: BTreeSet<i32> = changes.keys().map(|key| shift(*key, level + 1)).collect();
        // The new tree is higher than the old one: new nodes hold the old root in slot 0.
        if old_level.is_some_and(|height| height < level) {
            prefixes.insert(0);
            levels[level as usize] =
                prefixes.into_iter().map(|prefix| (prefix, vec![ids.get(&prefix).copied()])).collect();
            continue;
        }
        let nodes = load(db, prefixes.iter().filter_map(|prefix| ids.get(prefix).copied()));
        let mut below = HashMap::new();
        for prefix in prefixes {
            let kids = ids.get(&prefix).map(|id| nodes[id].kids.clone()).unwrap_or_default();
            for (slot, kid) in kids.iter().enumerate() {
                if let Some(kid) = kid {
                    below.insert((prefix << BITS) + slot as i32, *kid);
                }
            }
            levels[level as usize].insert(prefix, kids);
        }
        ids = below;
    }
    levels
}

/// The index of the node above a key among the nodes `level - 1` levels above the leaves; for level 0, the
/// key itself.
fn shift(key_idx: i32, level: u32) -> i32 {
    (i64::from(key_idx) >> (BITS * level)) as i32
}

fn set_child(kids: &mut Vec<Option<i64>>, prefix: i32, kid: Option<i64>) {
    let slot = prefix as usize % RADIX;
    if kids.len() <= slot {
        kids.resize(slot + 1, None);
    }
    kids[slot] = kid;
}

fn trim(kids: &mut Vec<Option<i64>>) {
    while let Some(None) = kids.last() {
        kids.pop();
    }
}

/// Stores the root, after removing levels that its keys do not need.
fn new_root(db: &Db<'_>, room_nid: i64, level: u32, kids: Vec<Option<i64>>) -> i64 {
    let (mut level, mut kids) = (level, kids);
    loop {
        match kids[..] {
            [] => return EMPTY,
            [Some(only)] if level > 0 => {
                let below = load(db, [only]);
                kids = below[&only].kids.clone();
                level -= 1;
            }
            _ => return insert(db, room_nid, level, &Kids::from([(0, kids)]))[&0],
        }
    }
}

/// Gives each node its id: that of an equal node of the room, or else of the inserted row. The subquery looks
/// up one hash at a time; for a join, the planner may choose to read all nodes of the room.
const INSERT: &str = "
    with wanted as (
        select w.prefix, w.hash, w.kids
        from unnest($3::integer[], $4::bytea[], $5::text[]) as w (prefix, hash, kids)
    ), inserted as (
        insert into state_nodes (room_nid, level, hash, kids)
        select $1, $2, w.hash, w.kids::bigint[] from wanted w
        on conflict (room_nid, hash) do nothing
        returning node_id, hash
    )
    select w.prefix, coalesce(
        i.node_id, (select n.node_id from state_nodes n where n.room_nid = $1 and n.hash = w.hash)
    ) as node_id
    from wanted w
    left join inserted i on i.hash = w.hash";

/// Stores the nodes of a level. Returns their ids by index; empty nodes are not stored and have none.
fn insert(db: &Db<'_>, room_nid: i64, level: u32, nodes: &Kids) -> HashMap<i32, i64> {
    let nodes: Vec<_> = nodes.iter().filter(|(_, kids)| !kids.is_empty()).collect();
    if nodes.is_empty() {
        return HashMap::new();
    }
    let prefixes: Vec<i32> = nodes.iter().map(|(prefix, _)| **prefix).collect();
    let hashes: Vec<Vec<u8>> = nodes.iter().map(|(_, kids)| hash(level, kids)).collect();
    let kids: Vec<String> = nodes.iter().map(|(_, kids)| array_literal(kids)).collect();
    let args = [room_nid.into(), (level as i16).into(), prefixes.into(), hashes.into(), kids.into()];
    db.query(INSERT, &args).map(|row| (row.get("prefix"), row.get("node_id"))).collect()
}

/// 16 bytes of SHA-256 over the level and the children; 0 stands for an absent child, as no id is 0.
pub(super) fn hash(level: u32, kids: &[Option<i64>]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update(level.to_be_bytes());
    for kid in kids {
        hasher.update(kid.unwrap_or(0).to_be_bytes());
    }
    hasher.finalize()[..16].to_vec()
}

/// PostgreSQL's text form of `bigint[]`. Arrays of different lengths cannot be one array parameter, their
/// texts can.
fn array_literal(kids: &[Option<i64>]) -> String {
    let items: Vec<String> =
        kids.iter().map(|kid| kid.map_or_else(|| "NULL".to_owned(), |id| id.to_string())).collect();
    format!("{{{}}}", items.join(","))
}
