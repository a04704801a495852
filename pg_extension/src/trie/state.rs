//! The trie as SQL functions: for the schema `matrix`, repair and tests.

use std::collections::BTreeMap;

use pgrx::{iter::TableIterator, name, pg_extern};

use crate::base::{connection::connect, spi::Mode};

type Entries = TableIterator<'static, (name!(key_idx, i32), name!(event_nid, i64))>;
type Changes = TableIterator<
    'static,
    (name!(key_idx, i32), name!(old_event_nid, Option<i64>), name!(new_event_nid, Option<i64>)),
>;

#[pg_extern(stable)]
fn state_get(root: i64, key_idx: i32) -> Option<i64> {
    connect(Mode::Read, |db| super::get(db, root, key_idx))
}

#[pg_extern(stable)]
fn state_entries(root: i64) -> Entries {
    TableIterator::new(connect(Mode::Read, |db| super::entries(db, root)))
}

#[pg_extern(stable)]
fn state_diff(old_root: i64, new_root: i64) -> Changes {
    let changes = connect(Mode::Read, |db| super::diff(db, old_root, new_root));
    TableIterator::new(changes.into_iter().map(|change| (change.key_idx, change.old, change.new)))
}

#[pg_extern]
fn state_set_many(room_nid: i64, root: i64, key_idxs: Vec<i32>, event_nids: Vec<Option<i64>>) -> i64 {
    assert!(key_idxs.len() == event_nids.len(), "as many keys as events");
    assert!(key_idxs.iter().all(|key| *key >= 0), "keys are not negative");
    let changes: BTreeMap<i32, Option<i64>> = key_idxs.into_iter().zip(event_nids).collect();
    connect(Mode::Write, |db| super::set_many(db, room_nid, root, &changes))
}
