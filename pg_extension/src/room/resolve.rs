//! State resolution on the trie: answers the questions of [`matriarch_rules::state_resolution`] by SQL, and
//! writes the resolved state to the trie.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
};

use matriarch_rules::{
    Event, RoomVersion,
    state_resolution::{ConflictedState, EventNid, Graph, Resolution, StateSets, resolve},
};

use crate::{
    base::spi::Db,
    room::{
        Room,
        graph_events::{GraphEvent, GraphEvents, Status},
        state_at::StateAt,
        state_keys::StateKeys,
    },
    trie,
};

/// What state resolution reads of a room. `events` and `keys` may have entries that are not stored yet; which
/// events cite an event is read from the database.
#[derive(Clone, Copy)]
pub struct RoomGraph<'g, 'd, 'c> {
    pub db: &'d Db<'c>,
    pub room_nid: i64,
    pub version: &'static RoomVersion,
    /// The create event, in room versions whose room id is made of it.
    pub create_nid: Option<i64>,
    pub events: &'g GraphEvents<'d, 'c>,
    pub keys: &'g StateKeys<'d, 'c>,
}

const MEMO: &str = "select root from state_resolutions where room_nid = $1 and roots = $2";

const REMEMBER: &str = "
    insert into state_resolutions (room_nid, roots, root) values ($1, $2, $3)
    on conflict (room_nid, roots) do nothing";

const CITING: &str = "
    select event_nid
    from event_auth_edges
    where auth_nid = $1 and event_nid < $2
    order by event_nid desc
    limit 64";

const KEYS: &str = "
    select k.key_idx, k.type, k.state_key
    from unnest($2) as wanted (key_idx)
    cross join lateral (
        select * from room_state_keys where room_nid = $1 and key_idx = wanted.key_idx offset 0
    ) k";

/// Several states of a room, and where they differ.
pub struct StateSetsOfRoom<'g, 'd, 'c> {
    graph: RoomGraph<'g, 'd, 'c>,
    states: Vec<StateAt>,
    /// The events of each `key_idx` at which the states differ, with the states that have each event.
    conflicts: BTreeMap<i32, BTreeMap<i64, StateSets>>,
}

impl<'g, 'd, 'c> StateSetsOfRoom<'g, 'd, 'c> {
    /// Compares states, which must be distinct. Each is compared with the first only, so the cost depends on
    /// the differences, not on the number of pairs.
    pub fn new(graph: RoomGraph<'g, 'd, 'c>, states: Vec<StateAt>) -> Self {
        let db = graph.db;
        let first = states.first().copied().unwrap_or(StateAt::EMPTY);
        let changes: Vec<BTreeMap<i32, Option<i64>>> =
            states.iter().map(|state| first.changes_to(db, *state)).collect();
        let keys: BTreeSet<i32> = changes.iter().flat_map(|changes| changes.keys().copied()).collect();
        let keys: Vec<i32> = keys.into_iter().collect();
        let mut conflicts: BTreeMap<i32, BTreeMap<i64, StateSets>> = BTreeMap::new();
        for (&key, of_first) in keys.iter().zip(first.get_many(db, &keys)) {
            let holders = conflicts.entry(key).or_default();
            for (set, changes) in changes.iter().enumerate() {
                if let Some(nid) = changes.get(&key).copied().unwrap_or(of_first) {
                    holders.entry(nid).or_default().insert(set);
                }
            }
        }
        Self { graph, states, conflicts }
    }

    /// The conflicted state, by state key.
    pub fn conflicted_state(&self) -> ConflictedState {
        let keys: Vec<i32> = self.conflicts.keys().copied().collect();
        let rows = self.graph.db.query(KEYS, &[self.graph.room_nid.into(), keys.into()]);
        rows.map(|row| {
            let nids = &self.conflicts[&row.get::<i32>("key_idx")];
            ((row.get("type"), row.get("state_key")), nids.keys().copied().collect())
        })
        .collect()
    }

    /// Resolves the states. The result tells each step.
    pub fn resolve(&self) -> Resolution {
        let nids: Vec<i64> = self.conflicts.values().flat_map(BTreeMap::keys).copied().collect();
        self.graph.events.load(nids);
        resolve(self.graph.version, self, self.states.len(), &self.conflicted_state())
    }

    /// The changes that lead from the first state to the resolved one.
    pub fn changes(&self, resolution: &Resolution) -> BTreeMap<i32, Option<i64>> {
        let mut changes: BTreeMap<i32, Option<i64>> = self.conflicts.keys().map(|key| (*key, None)).collect();
        for ((event_type, state_key), nid) in &resolution.state {
            // Every event of a state has a `key_idx`.
            changes.extend(self.graph.keys.get(event_type, state_key).map(|key_idx| (key_idx, Some(*nid))));
        }
        changes
    }
}

impl Graph for StateSetsOfRoom<'_, '_, '_> {
    type Event = Rc<Event>;

    fn event(&self, nid: EventNid) -> Rc<Event> {
        Rc::clone(&self.graph.events.get(nid).event)
    }

    fn auth_events(&self, nid: EventNid) -> Vec<EventNid> {
        self.graph.events.get(nid).auth_nids.clone()
    }

    fn implied_create(&self) -> Option<EventNid> {
        self.graph.create_nid.filter(|_| self.graph.version.room_id_is_create_event_id)
    }

    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid> {
        let args = [nid.into(), before.unwrap_or(i64::MAX).into()];
        self.graph.db.query(CITING, &args).map(|row| row.get("event_nid")).collect()
    }

    fn sets_with(&self, nid: EventNid) -> StateSets {
        let Some(key_idx) = self.graph.events.get(nid).key_idx else { return StateSets::default() };
        if let Some(holders) = self.conflicts.get(&key_idx) {
            return holders.get(&nid).cloned().unwrap_or_default();
        }
        // The states do not differ here.
        let everywhere = self.states.first().and_then(|state| state.get(self.graph.db, key_idx)) == Some(nid);
        (0..self.states.len()).filter(|_| everywhere).collect()
    }

    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        let key_idx = self.graph.keys.get(event_type, state_key)?;
        if self.conflicts.contains_key(&key_idx) {
            return None;
        }
        self.states.first()?.get(self.graph.db, key_idx)
    }

    fn read_ahead(&self, nids: &[EventNid]) {
        self.graph.events.load(nids.iter().copied());
    }
}

impl<'g, 'd> RoomGraph<'g, 'd, 'd> {
    /// Loads the create event, in room versions whose room id is made of it.
    pub fn new(room: &Room<'d>, events: &'g GraphEvents<'d, 'd>, keys: &'g StateKeys<'d, 'd>) -> Self {
        let create_id = room.create_event_id();
        events.load_ids(create_id.as_deref());
        let create = create_id.and_then(|id| events.by_id(&id));
        let (db, room_nid, version) = (room.db, room.nid, room.version);
        Self { db, room_nid, version, create_nid: create.map(|create| create.nid), events, keys }
    }

    /// The root of the state after an event; `None` if the state before it is unknown.
    pub fn state_after(&self, event: &GraphEvent) -> Option<i64> {
        let before = event.state_before?;
        let Some(key_idx) = event.key_idx.filter(|_| event.status != Status::Rejected) else {
            return Some(before);
        };
        let change = BTreeMap::from([(key_idx, Some(event.nid))]);
        Some(trie::set_many(self.db, self.room_nid, before, &change))
    }

    /// The root of the state that these states resolve to. The result is stored for the next time. All events
    /// must be stored, and the caller must hold the room's lock.
    pub fn resolved(&self, roots: &BTreeSet<i64>) -> i64 {
        match roots.len() {
            0 => return trie::EMPTY,
            1 => return roots.iter().next().copied().unwrap_or(trie::EMPTY),
            _ => {}
        }
        let roots: Vec<i64> = roots.iter().copied().collect();
        let args = [self.room_nid.into(), roots.clone().into()];
        if let Some(row) = self.db.query_opt(MEMO, &args) {
            return row.get("root");
        }
        let states = roots.iter().copied().map(StateAt::root).collect();
        let sets = StateSetsOfRoom::new(*self, states);
        let changes = sets.changes(&sets.resolve());
        let root = trie::set_many(self.db, self.room_nid, roots[0], &changes);
        self.db.execute(REMEMBER, &[self.room_nid.into(), roots.into(), root.into()]);
        root
    }
}
