//! The scenarios that ship with `ruma-state-res`: events, states and the expected results.

use std::{collections::BTreeSet, env, fs, path::PathBuf, process::Command, sync::LazyLock};

use matriarch_rules::{
    Event, Map, RoomVersion, check_state_dependent,
    room_version::room_version,
    state_resolution::{
        EventNid, StateKey,
        memory::{MemoryRoom, StateMap},
    },
};
use serde_json::{Value, from_str};

/// The folder of the scenarios in the crate's source.
static SCENARIOS: LazyLock<PathBuf> = LazyLock::new(|| {
    let version = output(Command::new("rustc").arg("-vV"));
    // The source of crates for other platforms may be missing.
    let platform = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or("cargo".into());
    let metadata =
        output(Command::new(cargo).args(["metadata", "--format-version", "1", "--offline"]).args([
            "--filter-platform",
            platform,
            "--manifest-path",
            manifest,
        ]));
    let metadata: Value = from_str(&metadata).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "ruma-state-res").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    manifest.with_file_name("tests").join("it/resolve")
});

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(fixture: &str) -> T {
    from_str(&fs::read_to_string(SCENARIOS.join("fixtures").join(fixture)).unwrap()).unwrap()
}

/// The resolved state: the part of a snapshot after its header.
fn expected(scenario: &str) -> BTreeSet<(String, String, String)> {
    let path = SCENARIOS.join(format!("snapshots/{scenario}@resolved_state.snap"));
    let snapshot = fs::read_to_string(path).unwrap();
    let (_, state) = snapshot.split_once("\n---\n").unwrap();
    let state: Vec<Map> = from_str(state).unwrap();
    let field = |event: &Map, name: &str| event[name].as_str().unwrap().to_owned();
    let entry = |event| (field(event, "type"), field(event, "state_key"), field(event, "event_id"));
    state.iter().map(entry).collect()
}

/// A room with the events of some files.
struct Scenario {
    version: &'static RoomVersion,
    room: MemoryRoom,
    /// The numbers of the events of each file.
    batches: Vec<Vec<EventNid>>,
}

impl Scenario {
    fn new(files: &[&str]) -> Self {
        let batches: Vec<Vec<Map>> = files.iter().map(|file| read(file)).collect();
        let version = batches[0][0]["content"]["room_version"].as_str().unwrap();
        let version = room_version(version).unwrap();
        let mut scenario = Self { version, room: MemoryRoom::new(version), batches: Vec::new() };
        for batch in batches {
            let events = batch.into_iter().map(|json| {
                let event_id = json["event_id"].as_str().unwrap().to_owned();
                Event::new(event_id, json)
            });
            scenario.push(events.collect());
        }
        scenario
    }

    /// Adds the events of a file, each after its auth events.
    fn push(&mut self, mut events: Vec<Event>) {
        let mut batch = Vec::new();
        while !events.is_empty() {
            let known = |event: &Event| event.auth_events().all(|event_id| self.room.nid(event_id).is_some());
            let (ready, waiting): (Vec<_>, Vec<_>) = events.into_iter().partition(known);
            assert!(!ready.is_empty(), "auth events are missing: {waiting:?}");
            batch.extend(ready.into_iter().map(|event| self.room.push(event)));
            events = waiting;
        }
        self.batches.push(batch);
    }

    fn key(&self, nid: EventNid) -> StateKey {
        self.room.key(nid).unwrap()
    }

    fn resolve(&self, sets: &[StateMap]) -> StateMap {
        self.room.resolve(sets).0
    }

    /// Adds one event after another, as in a room: the state before each follows from its previous events.
    fn resolve_by_event(&self) -> StateMap {
        let mut states: Vec<Option<StateMap>> = vec![None; self.room.len()];
        let mut extremities: BTreeSet<EventNid> = BTreeSet::new();
        while let Some(nid) =
            (0..states.len()).find(|nid| states[*nid].is_none() && self.is_next(*nid, &states))
        {
            let event = self.room.event(nid as EventNid);
            let prev_events: Vec<_> = event.prev_events().filter_map(|id| self.room.nid(id)).collect();
            let before: Vec<_> =
                prev_events.iter().map(|nid| states[*nid as usize].clone().unwrap()).collect();
            let mut state = self.resolve(&before);
            let allowed = check_state_dependent(self.version, event, |event_type, state_key| {
                let nid = state.get(&(event_type.to_owned(), state_key.to_owned()))?;
                Some(self.room.event(*nid).clone())
            });
            if allowed.is_ok() {
                state.insert(self.key(nid as EventNid), nid as EventNid);
            }
            states[nid] = Some(state);
            extremities.retain(|extremity| !prev_events.contains(extremity));
            extremities.insert(nid as EventNid);
        }
        let extremities: Vec<_> =
            extremities.iter().map(|nid| states[*nid as usize].clone().unwrap()).collect();
        assert!(states.iter().all(Option::is_some), "previous events are missing");
        self.resolve(&extremities)
    }

    /// Whether the states after all previous events are known.
    fn is_next(&self, nid: usize, states: &[Option<StateMap>]) -> bool {
        let mut prev_events = self.room.event(nid as EventNid).prev_events();
        prev_events.all(|id| self.room.nid(id).is_some_and(|nid| states[nid as usize].is_some()))
    }

    /// Resolves states of one event each, together with the state that resulted from the files before.
    fn resolve_by_file(&self) -> StateMap {
        let mut state = None;
        for batch in &self.batches {
            let sets: Vec<_> = state.into_iter().chain(self.alone(batch)).collect();
            state = Some(self.resolve(&sets));
        }
        state.unwrap()
    }

    /// A state for each event that contains only that event.
    fn alone(&self, events: &[EventNid]) -> Vec<StateMap> {
        events.iter().map(|nid| StateMap::from([(self.key(*nid), *nid)])).collect()
    }

    fn assert_resolved(&self, state: StateMap, scenario: &str) {
        let id = |nid: EventNid| self.room.event(nid).event_id().to_owned();
        let state: BTreeSet<_> = state.into_iter().map(|(key, nid)| (key.0, key.1, id(nid))).collect();
        assert_eq!(state, expected(scenario), "{scenario}");
    }
}

fn resolve_files(scenario: &str, files: &[&str]) {
    let loaded = Scenario::new(files);
    loaded.assert_resolved(loaded.resolve_by_event(), scenario);
    loaded.assert_resolved(loaded.resolve_by_file(), scenario);
    loaded.assert_resolved(loaded.resolve(&loaded.alone(&loaded.batches.concat())), scenario);
}

fn resolve_states(scenario: &str, states: [&str; 2], file: &str) {
    let loaded = Scenario::new(&[file]);
    let states = states.map(|state| {
        let ids: Vec<String> = read(state);
        let nids = ids.iter().map(|id| loaded.room.nid(id).unwrap());
        nids.map(|nid| (loaded.key(nid), nid)).collect::<StateMap>()
    });
    loaded.assert_resolved(loaded.resolve(&states), scenario);
}

#[test]
fn minimal_private_chat() {
    resolve_files("minimal_private_chat", &["bootstrap-private-chat.json"]);
}

#[test]
fn minimal_public_chat() {
    resolve_files("minimal_public_chat", &["bootstrap-public-chat.json"]);
}

#[test]
fn origin_server_ts_tiebreak() {
    let files = ["bootstrap-private-chat.json", "origin-server-ts-tiebreak.json"];
    resolve_files("origin_server_ts_tiebreak", &files);
}

#[test]
fn ban_vs_power_levels() {
    let files =
        ["bootstrap-public-chat.json", "ban-vs-power-levels-alice.json", "ban-vs-power-levels-bob.json"];
    resolve_files("ban_vs_power_levels", &files);
}

#[test]
fn topic_vs_power_levels() {
    let files =
        ["bootstrap-public-chat.json", "topic-vs-power-levels-alice.json", "topic-vs-power-levels-bob.json"];
    resolve_files("topic_vs_power_levels", &files);
}

#[test]
fn power_levels_admin_vs_mod() {
    let files = [
        "bootstrap-public-chat.json",
        "power-levels-admin-vs-mod-alice.json",
        "power-levels-admin-vs-mod-bob.json",
    ];
    resolve_files("power_levels_admin_vs_mod", &files);
}

#[test]
fn topic_vs_ban() {
    let files = [
        "bootstrap-public-chat.json",
        "topic-vs-ban-common.json",
        "topic-vs-ban-alice.json",
        "topic-vs-ban-bob.json",
    ];
    resolve_files("topic_vs_ban", &files);
}

#[test]
fn join_rules_vs_join() {
    let files = [
        "bootstrap-public-chat.json",
        "join-rules-vs-join-common.json",
        "join-rules-vs-join-alice.json",
        "join-rules-vs-join-ella.json",
    ];
    resolve_files("join_rules_vs_join", &files);
}

#[test]
fn concurrent_joins() {
    let files = ["bootstrap-public-chat.json", "concurrent-joins-charlie.json", "concurrent-joins-ella.json"];
    resolve_files("concurrent_joins", &files);
}

/// Problem A of MSC4297: the unconflicted state forbids older changes that were allowed.
#[test]
fn msc4297_problem_a() {
    let states = ["MSC4297-problem-A/state-bob.json", "MSC4297-problem-A/state-charlie.json"];
    resolve_states("msc4297_problem_a_state_res_v2_0", states, "MSC4297-problem-A/pdus-v11.json");
    resolve_states("msc4297_problem_a_state_res_v2_1", states, "MSC4297-problem-A/pdus-v12.json");
}

/// Problem B of MSC4297: without the conflicted state subgraph the power levels fall back to the first ones.
#[test]
fn msc4297_problem_b() {
    let states = ["MSC4297-problem-B/state-eve.json", "MSC4297-problem-B/state-zara.json"];
    resolve_states("msc4297_problem_b_state_res_v2_0", states, "MSC4297-problem-B/pdus-v11.json");
    resolve_states("msc4297_problem_b_state_res_v2_1", states, "MSC4297-problem-B/pdus-v12.json");
}
