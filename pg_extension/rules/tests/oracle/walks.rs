//! The algorithms on the graph of auth events, compared with their definitions on random graphs.

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::{
    Event,
    state_resolution::{EventNid, Graph, StateSets, auth_difference, conflicted_subgraph},
};

use super::{
    chance::Chance,
    naive::{self, Bits},
    resolution::rooms,
};

/// A state, by numbers of keys.
type Set = BTreeMap<usize, EventNid>;

/// A graph of auth events without the events.
struct Bare {
    auth_events: Vec<Vec<EventNid>>,
    rejected: Vec<bool>,
    keys: Vec<usize>,
    sets: Vec<Set>,
}

impl Bare {
    fn random(seed: u64) -> Self {
        let mut chance = Chance::new(seed);
        let size = 2 + chance.below(58);
        let keys = 1 + chance.below(12);
        // Old events are cited rarely, or as often as others.
        let reach = if chance.percent(50) { 1 + chance.below(10) } else { size };
        let most = 1 + chance.below(4);
        let mut bare =
            Self { auth_events: Vec::new(), rejected: Vec::new(), keys: Vec::new(), sets: Vec::new() };
        for nid in 0..size {
            let cited: Vec<_> = (nid.saturating_sub(reach)..nid).filter(|nid| !bare.rejected[*nid]).collect();
            let count = chance.below(most + 1);
            let mut auth_events: Vec<_> =
                chance.sample(&cited, count).into_iter().map(|nid| nid as EventNid).collect();
            // The create event.
            if nid > 0 && chance.percent(80) && !auth_events.contains(&0) {
                auth_events.push(0);
            }
            bare.auth_events.push(auth_events);
            bare.rejected.push(nid > 0 && chance.percent(5));
            bare.keys.push(chance.below(keys));
        }
        bare.choose_sets(&mut chance);
        bare
    }

    /// State sets that have much or little in common. Rejected events are never in all of them.
    fn choose_sets(&mut self, chance: &mut Chance) {
        let mut common = Set::new();
        for (nid, key) in self.keys.iter().enumerate() {
            if !self.rejected[nid] && chance.percent(60) {
                common.insert(*key, nid as EventNid);
            }
        }
        let changes = 1 + chance.below(4);
        for number in 0..2 + chance.below(4) {
            let mut set = common.clone();
            for _ in 0..chance.below(changes + 1) {
                let nid = chance.below(self.keys.len());
                if chance.percent(20) {
                    set.remove(&self.keys[nid]);
                } else if !self.rejected[nid] || number > 0 {
                    set.insert(self.keys[nid], nid as EventNid);
                }
            }
            self.sets.push(set);
        }
    }

    fn conflicted(&self) -> BTreeSet<EventNid> {
        let in_all = |key, nid| self.sets.iter().all(|set| set.get(key) == Some(nid));
        let all = self.sets.iter().flatten();
        all.filter(|(key, nid)| !in_all(key, nid)).map(|(_, nid)| *nid).collect()
    }

    fn chains(&self) -> Vec<Bits> {
        let mut chains = Vec::new();
        for auth_events in &self.auth_events {
            chains.push(naive::auth_chain(auth_events, &chains));
        }
        chains
    }
}

impl Graph for Bare {
    type Event = &'static Event;

    fn event(&self, _: EventNid) -> &'static Event {
        unreachable!("the walks look at no event")
    }

    fn auth_events(&self, nid: EventNid) -> Vec<EventNid> {
        self.auth_events[nid as usize].clone()
    }

    fn implied_create(&self) -> Option<EventNid> {
        None
    }

    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid> {
        let end = before.map_or(self.keys.len(), |before| before as usize);
        let citing = (0..end).rev().filter(|citing| self.auth_events[*citing].contains(&nid));
        citing.filter(|citing| !self.rejected[*citing]).take(2).map(|nid| nid as EventNid).collect()
    }

    fn sets_with(&self, nid: EventNid) -> StateSets {
        let key = self.keys[nid as usize];
        (0..self.sets.len()).filter(|set| self.sets[*set].get(&key) == Some(&nid)).collect()
    }

    fn unconflicted(&self, _: &str, _: &str) -> Option<EventNid> {
        unreachable!("the walks look at no state")
    }
}

#[test]
fn walks_find_what_the_definitions_say() {
    let mut found = [0; 2];
    for seed in 0..rooms(30_000) {
        let bare = Bare::random(seed);
        let conflicted = bare.conflicted();
        let chains = bare.chains();
        let full: Vec<_> =
            bare.sets.iter().map(|set| naive::full_auth_chain(set.values().copied(), &chains)).collect();
        let difference = naive::events(naive::auth_difference(&full));
        assert_eq!(auth_difference(&bare, bare.sets.len(), &conflicted), difference, "seed {seed}");
        let subgraph = naive::events(naive::conflicted_subgraph(&conflicted, &chains));
        assert_eq!(conflicted_subgraph(&bare, &conflicted), subgraph, "seed {seed}");
        found[0] += difference.len();
        found[1] += subgraph.len();
    }
    assert!(found.iter().all(|events| *events > 0), "nothing to find: {found:?}");
}
