//! Appends to a room that has more forward extremities than an event can cite. The event cites some of them,
//! so that their number falls.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use matriarch_rules::event::format::MAX_PREV_EVENTS;

use crate::{
    room::{
        Extremity, Room, Slot, StateEvent, StateKey, graph_events::GraphEvents, reference,
        resolve::RoomGraph, state_keys::StateKeys,
    },
    trie,
};

/// What [`end`] needs of a room that is in the state of the cited forward extremities.
pub(super) struct Merge<'a> {
    events: GraphEvents<'a, 'a>,
    keys: StateKeys<'a, 'a>,
    /// The root of the current state, which the flat rows have.
    current: i64,
    /// What the current state is resolved from beside the state after the new event: the states after the
    /// forward extremities that are not cited or, if they are still too many, the current state.
    others: BTreeSet<i64>,
}

/// How many of the oldest and of the newest forward extremities are looked at. The last event of this server
/// is old if others were quick to make new ones.
const OLDEST: usize = MAX_PREV_EVENTS;
const NEWEST: usize = 2 * MAX_PREV_EVENTS;

const SET_ROOM_ROOT: &str = "update events set room_root = $2 where event_nid = $1";

/// Replaces the current state by the state after the forward extremities to cite, and loads these state keys.
pub fn begin<'a>(room: &mut Room<'a>, keys: Vec<StateKey>) -> Merge<'a> {
    room.write_events();
    let mut merge = Merge {
        events: GraphEvents::new(room.db),
        keys: StateKeys::new(room.db, room.nid),
        current: room.header.root,
        others: BTreeSet::new(),
    };
    let graph = RoomGraph::new(room, &merge.events, &merge.keys);
    let candidates = candidates(&room.header.extremities);
    merge.events.load(candidates.iter().copied());
    let after: HashMap<i64, i64> = candidates
        .iter()
        .filter_map(|nid| Some((*nid, graph.state_after(&merge.events.get(*nid))?)))
        .collect();
    let chosen = choose(room, &keys, &candidates, &after);
    for extremity in &mut room.header.extremities {
        if chosen.contains(&extremity.nid) {
            let event = &merge.events.get(extremity.nid).event;
            extremity.reference.get_or_insert_with(|| reference(room.version, event));
        }
    }
    let (mut roots, mut others) = (BTreeSet::new(), BTreeSet::new());
    for (nid, root) in &after {
        if chosen.contains(nid) { &mut roots } else { &mut others }.insert(*root);
    }
    let stays_crowded = room.header.extremities.len() - chosen.len() >= MAX_PREV_EVENTS;
    if stays_crowded {
        others = BTreeSet::from([merge.current]);
    }
    let root = graph.resolved(&roots);
    merge.others = others;
    room.header.root = root;
    room.merging = true;

    merge.keys.load(keys.iter().cloned());
    let key_idxs: HashMap<StateKey, Option<i32>> = keys
        .into_iter()
        .map(|key| {
            let key_idx = merge.keys.get(&key.0, &key.1);
            (key, key_idx)
        })
        .collect();
    let wanted: Vec<i32> = key_idxs.values().flatten().copied().collect();
    let nids: BTreeMap<i32, Option<i64>> =
        wanted.iter().copied().zip(trie::get_many(room.db, root, &wanted)).collect();
    merge.events.load(nids.values().flatten().copied());
    room.pretend_state(key_idxs.into_iter().map(|(key, key_idx)| {
        let nid = key_idx.and_then(|key_idx| nids[&key_idx]);
        let current = nid.map(|nid| StateEvent { nid, event: Rc::clone(&merge.events.get(nid).event) });
        (key, Slot { key_idx, current })
    }));
    merge
}

/// The forward extremities to choose from, newest first.
fn candidates(extremities: &[Extremity]) -> Vec<i64> {
    let between = OLDEST..extremities.len().saturating_sub(NEWEST).max(OLDEST);
    let is_candidate = |(index, _): &(usize, &Extremity)| !between.contains(index);
    extremities.iter().enumerate().rev().filter(is_candidate).map(|(_, extremity)| extremity.nid).collect()
}

/// Chooses the forward extremities to cite: first those whose states have the events that authorize the
/// sender in the current state, then the newest. They are moved to the end, since the last ones are cited.
fn choose<'a>(
    room: &mut Room<'a>,
    keys: &[StateKey],
    newest_first: &[i64],
    after: &HashMap<i64, i64>,
) -> BTreeSet<i64> {
    let mut chosen = BTreeSet::new();
    for (event_type, state_key) in keys {
        let Some(slot) = room.loaded(event_type, state_key) else { continue };
        let (Some(key_idx), Some(current)) = (slot.key_idx, &slot.current) else { continue };
        let has = |nid: &&i64| {
            after.get(nid).and_then(|root| trie::get(room.db, *root, key_idx)) == Some(current.nid)
        };
        let of_chosen = chosen.iter().find(has).copied();
        chosen.extend(of_chosen.or_else(|| newest_first.iter().find(has).copied()));
    }
    for nid in newest_first {
        if chosen.len() < MAX_PREV_EVENTS {
            chosen.insert(*nid);
        }
    }
    room.header.extremities.sort_by_key(|extremity| (chosen.contains(&extremity.nid), extremity.nid));
    chosen
}

/// Returns to the current state, which includes the event if one was appended.
pub fn end<'a>(room: &mut Room<'a>, merge: Merge<'_>, appended: Option<i64>) {
    room.write_events();
    room.forget_state();
    room.merging = false;
    let after = std::mem::replace(&mut room.header.root, merge.current);
    let Some(event_nid) = appended else { return };
    let events = GraphEvents::new(room.db);
    let keys = StateKeys::new(room.db, room.nid);
    let mut roots = merge.others;
    roots.insert(after);
    let root = RoomGraph::new(room, &events, &keys).resolved(&roots);
    if root != after {
        room.db.execute(SET_ROOM_ROOT, &[event_nid.into(), root.into()]);
    }
    room.header.root = root;
    room.follow_state(merge.current);
}
