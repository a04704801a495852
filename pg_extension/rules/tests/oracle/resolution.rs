//! State resolution, compared with `ruma-state-res` on random rooms that fork.

use std::{collections::BTreeSet, env, panic, sync::Arc};

use matriarch_rules::{
    Event, RoomVersion,
    room_version::room_version,
    state_resolution::{
        EventNid, Graph, StateSets,
        memory::{MemoryGraph, MemoryRoom, StateMap},
        resolve,
    },
};
use ruma_common::{EventId, OwnedEventId, RoomVersionId};
use ruma_state_res::utils::event_id_set::EventIdSet;

use super::{
    chance::Chance,
    forks::ForkingRoom,
    naive::{self, Bits},
    pdu::Pdu,
};

/// The number of random rooms. The environment variable `RANDOM_ROOMS` is a factor for it.
pub fn rooms(count: u64) -> u64 {
    count * env::var("RANDOM_ROOMS").map_or(1, |factor| factor.parse().unwrap())
}

/// Resolves with ruma.
pub fn ruma(
    version: &RoomVersion,
    room: &MemoryRoom,
    pdus: &[Pdu],
    chains: &[Bits],
    sets: &[StateMap],
) -> StateMap {
    let rules = RoomVersionId::try_from(version.id).unwrap().rules().unwrap();
    let id = |nid: EventNid| pdus[nid as usize].id();
    let nid = |event_id: &EventId| room.nid(event_id.as_str());
    let ids = |bits| naive::events(bits).into_iter().map(id).collect::<EventIdSet<_>>();
    let maps: Vec<ruma_state_res::StateMap<OwnedEventId>> = sets
        .iter()
        .map(|set| set.iter().map(|(key, nid)| ((key.0.as_str().into(), key.1.clone()), id(*nid))).collect())
        .collect();
    let full_auth_chains =
        sets.iter().map(|set| ids(naive::full_auth_chain(set.values().copied(), chains))).collect();
    let resolved = ruma_state_res::resolve(
        &rules.authorization,
        rules.state_res.v2_rules().unwrap(),
        &maps,
        full_auth_chains,
        |event_id| pdus.get(usize::try_from(nid(event_id)?).unwrap()),
        |conflicted| {
            let conflicted = conflicted.values().flatten().filter_map(|event_id| nid(event_id)).collect();
            Some(ids(naive::conflicted_subgraph(&conflicted, chains)))
        },
    );
    let resolved = resolved.unwrap().into_iter();
    resolved.map(|(key, event_id)| ((key.0.to_string(), key.1), nid(&event_id).unwrap())).collect()
}

/// A copy of the room in which some events were rejected, although others cite them.
struct Rejecting<'a> {
    graph: MemoryGraph<'a>,
    rejected: &'a BTreeSet<EventNid>,
}

impl Graph for Rejecting<'_> {
    type Event = Arc<Event>;

    fn event(&self, nid: EventNid) -> Arc<Event> {
        let event = self.graph.event(nid);
        if self.rejected.contains(&nid) { Arc::new((*event).clone().with_rejected(true)) } else { event }
    }

    fn auth_events(&self, nid: EventNid) -> Vec<EventNid> {
        self.graph.auth_events(nid)
    }

    fn implied_create(&self) -> Option<EventNid> {
        self.graph.implied_create()
    }

    fn citing(&self, nid: EventNid, before: Option<EventNid>) -> Vec<EventNid> {
        self.graph.citing(nid, before)
    }

    fn sets_with(&self, nid: EventNid) -> StateSets {
        self.graph.sets_with(nid)
    }

    fn unconflicted(&self, event_type: &str, state_key: &str) -> Option<EventNid> {
        self.graph.unconflicted(event_type, state_key)
    }
}

/// Counts what was compared, to be sure that the test compared something.
#[derive(Debug, Default)]
struct Tally {
    resolutions: usize,
    conflicts: usize,
    refusals: usize,
    auth_differences: usize,
    subgraphs: usize,
    with_rejected: usize,
}

struct Comparison {
    pdus: Vec<Pdu>,
    tally: Tally,
}

impl Comparison {
    /// Resolves with both and checks the steps.
    fn resolve(&mut self, forking: &mut ForkingRoom, sets: &[StateMap]) -> StateMap {
        let ForkingRoom { version, room, chains, .. } = &*forking;
        for nid in self.pdus.len()..room.len() {
            self.pdus.push(Pdu::new(room.event(nid as EventNid)));
        }
        let (state, resolution) = room.resolve(sets);
        assert_eq!(state, ruma(version, room, &self.pdus, chains, sets), "{sets:?} {resolution:?}");

        let graph = MemoryGraph::new(room, sets);
        let conflicted: BTreeSet<_> = graph.conflicted().values().flatten().copied().collect();
        let full: Vec<_> =
            sets.iter().map(|set| naive::full_auth_chain(set.values().copied(), chains)).collect();
        assert_eq!(resolution.auth_difference, naive::events(naive::auth_difference(&full)));
        if forking.has_subgraph() {
            let subgraph = naive::conflicted_subgraph(&conflicted, chains);
            assert_eq!(resolution.conflicted_subgraph, naive::events(subgraph));
        }
        let checked: Vec<_> = resolution.checks.iter().map(|check| check.nid).collect();
        assert_eq!(checked, [&resolution.power_events[..], &resolution.other_events[..]].concat());

        self.tally.resolutions += 1;
        self.tally.conflicts += usize::from(!conflicted.is_empty());
        self.tally.refusals += usize::from(resolution.checks.iter().any(|check| check.verdict.is_err()));
        self.tally.auth_differences += usize::from(!resolution.auth_difference.is_subset(&conflicted));
        self.tally.subgraphs += usize::from(!resolution.conflicted_subgraph.is_subset(&conflicted));
        if forking.chance.percent(20) {
            self.resolve_with_rejected(forking, sets, &checked);
        }
        state
    }

    /// Resolves again, after some auth events that are not themselves resolved were rejected.
    ///
    /// ruma never uses a rejected event as an auth event, even if it is in the state that is being resolved.
    /// By the specification this holds only for the auth events that the event cites.
    fn resolve_with_rejected(&mut self, forking: &mut ForkingRoom, sets: &[StateMap], checked: &[EventNid]) {
        let ForkingRoom { version, room, chains, chance, .. } = forking;
        let kept: BTreeSet<_> = sets.iter().flat_map(StateMap::values).chain(checked).copied().collect();
        let others: Vec<_> = (1..room.len() as EventNid)
            .filter(|nid| !kept.contains(nid) && !room.event(*nid).is("m.room.join_rules", ""))
            .collect();
        let count = 1 + chance.below(5);
        let rejected: BTreeSet<_> = chance.sample(&others, count).into_iter().collect();
        let graph = Rejecting { graph: MemoryGraph::new(room, sets), rejected: &rejected };
        let mut state = graph.graph.unconflicted_state().clone();
        state.extend(resolve(version, &graph, sets.len(), graph.graph.conflicted()).state);
        let mut pdus = self.pdus.clone();
        for nid in &rejected {
            pdus[*nid as usize].rejected = true;
        }
        assert_eq!(state, ruma(version, room, &pdus, chains, sets), "{rejected:?} rejected: {sets:?}");
        self.tally.with_rejected += 1;
    }
}

/// The order of the sets and the order in which events were added do not matter.
fn assert_same_elsewhere(here: &mut ForkingRoom, sets: &[StateMap], state: &StateMap) {
    let mut there = MemoryRoom::new(here.version);
    let mut waiting: Vec<EventNid> = (0..here.room.len() as EventNid).collect();
    // From the numbers of this room to those of the other one.
    let mut numbers = vec![None; here.room.len()];
    while !waiting.is_empty() {
        let index = here.chance.below(waiting.len());
        let nid = waiting[index];
        if here.room.auth_events(nid).iter().all(|nid| numbers[*nid as usize].is_some()) {
            numbers[nid as usize] = Some(there.push((**here.room.event(nid)).clone()));
            waiting.swap_remove(index);
        }
    }
    let renumber = |state: &StateMap| -> StateMap {
        state.iter().map(|(key, nid)| (key.clone(), numbers[*nid as usize].unwrap())).collect()
    };
    let sets: Vec<_> = sets.iter().rev().map(renumber).collect();
    assert_eq!(there.resolve(&sets).0, renumber(state));
}

fn compare_room(version: &'static RoomVersion, seed: u64, tally: &mut Tally) {
    let mut room = ForkingRoom::new(version, seed);
    let mut comparison = Comparison { pdus: Vec::new(), tally: std::mem::take(tally) };
    let steps = 10 + room.chance.below(60);
    for _ in 0..steps {
        room.step(&mut |room, sets| comparison.resolve(room, sets));
    }
    for _ in 0..4 {
        let sets = room.made_up_states();
        let state = comparison.resolve(&mut room, &sets);
        assert_same_elsewhere(&mut room, &sets, &state);
    }
    *tally = comparison.tally;
}

/// Rooms that were once resolved differently: a version and a seed in each line.
const SEEDS: &str = include_str!("../fixtures/resolution_seeds.txt");

fn compare(version: &str) {
    let replayed = SEEDS.lines().filter_map(|line| {
        let (of_version, seed) = line.split_once(' ')?;
        (of_version == version).then(|| seed.parse().unwrap())
    });
    let id = version;
    let version = room_version(id).unwrap();
    let mut first = Chance::new(version.id.parse().unwrap());
    let random = (0..rooms(300)).map(|_| first.next());
    let mut tally = Tally::default();
    for seed in replayed.chain(random) {
        let compared =
            panic::catch_unwind(panic::AssertUnwindSafe(|| compare_room(version, seed, &mut tally)));
        assert!(compared.is_ok(), "to be kept in resolution_seeds.txt: {id} {seed}");
    }
    println!("version {id}: {tally:?}");
    assert!(tally.conflicts > 0 && tally.refusals > 0 && tally.auth_differences > 0, "{tally:?}");
}

#[test]
fn forks_in_version_6() {
    compare("6");
}

#[test]
fn forks_in_version_7() {
    compare("7");
}

#[test]
fn forks_in_version_8() {
    compare("8");
}

#[test]
fn forks_in_version_9() {
    compare("9");
}

#[test]
fn forks_in_version_10() {
    compare("10");
}

#[test]
fn forks_in_version_11() {
    compare("11");
}

#[test]
fn forks_in_version_12() {
    compare("12");
}
