//! Checks the state before each event: what the states after its previous events resolve to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use matriarch_rules::state_resolution::Resolution;

use super::{Verifier, View, report::Finding};
use crate::{
    room::{graph_events::GraphEvent, resolve::StateSetsOfRoom, state_at::StateAt},
    trie,
};

const SET_STATE: &str = "
    update events set state_before = $2, state_given = false where event_nid = $1";

/// Given states, and the states of partial rooms, cannot be computed from the graph.
const GIVEN: &str = "
    select e.event_nid
    from unnest($1) as wanted (event_nid)
    cross join lateral (
        select event_nid
        from events
        where event_nid = wanted.event_nid
            and (state_given or exists (select from partial_states p where p.event_nid = wanted.event_nid))
        offset 0
    ) e";

const SET_ROOM_ROOT: &str = "update events set room_root = null where event_nid = $1";

const ROOM_ROOTS: &str = "
    select e.event_nid, e.event_id, e.room_root
    from unnest($1) as wanted (event_nid)
    cross join lateral (select * from events where event_nid = wanted.event_nid offset 0) e
    where e.room_root is not null";

const KEY: &str = "select type, state_key from room_state_keys where room_nid = $1 and key_idx = $2";

/// A state key at which a state is wrong, and the events at it.
pub struct Difference {
    pub key_idx: i32,
    pub found: Option<i64>,
    pub expected: Option<i64>,
}

impl Verifier {
    /// Checks the states before events. Also checks the events' statuses and the effects of redactions, which
    /// depend on these states.
    pub fn check_states(&mut self, view: &View<'_, '_>, nids: &[i64]) {
        let events = view.graph.events;
        events.load(nids.iter().copied());
        let batch: Vec<_> = nids.iter().map(|nid| events.get(*nid)).collect();
        events.load(batch.iter().flat_map(|event| event.prev_nids.iter().chain(&event.auth_nids).copied()));
        self.check_room_roots(view, nids);
        let given =
            view.room.db.query(GIVEN, &[nids.to_vec().into()]).map(|row| row.get("event_nid")).collect();
        let prev_nids = batch.iter().flat_map(|event| &event.prev_nids);
        let roots = prev_nids.filter_map(|nid| events.get(*nid).state_before);
        let wrong = self
            .wrong_roots(view, roots.chain(batch.iter().filter_map(|event| event.state_before)).collect());
        for event in batch {
            if self.damaged.contains(&event.nid) {
                continue;
            }
            let trusted = self.check_state_before(view, &event, &wrong, &given);
            if trusted {
                self.check_verdict(view, &events.get(event.nid));
                self.check_redaction(view, &events.get(event.nid));
            }
        }
    }

    /// Checks the state before an event. Returns whether the event needs none, or has one that can be relied
    /// on.
    fn check_state_before(
        &mut self,
        view: &View<'_, '_>,
        event: &GraphEvent,
        wrong: &HashMap<i64, &'static str>,
        given: &BTreeSet<i64>,
    ) -> bool {
        if !event.is_in_graph() {
            return true;
        }
        let finding = || Finding::new("state before").event(event.event.event_id());
        let unreadable = match event.state_before {
            Some(root) => wrong.get(&root).copied(),
            None => Some("the state is not known"),
        };
        let events = view.graph.events;
        let prev_events: Vec<Rc<GraphEvent>> = event.prev_nids.iter().map(|nid| events.get(*nid)).collect();
        let all_here = event
            .event
            .prev_events()
            .all(|id| events.by_id(id).is_some_and(|prev| event.prev_nids.contains(&prev.nid)));
        let known = |prev: &Rc<GraphEvent>| {
            let readable = prev.state_before.is_some_and(|root| !wrong.contains_key(&root));
            readable && !self.damaged.contains(&prev.nid) && !self.doubted.contains(&prev.nid)
        };
        if !all_here || !prev_events.iter().all(known) {
            if let Some(reason) = unreadable {
                self.report.add(finding().found(reason).expected("a state"));
            }
            return unreadable.is_none();
        }
        if unreadable.is_none() && given.contains(&event.nid) {
            return true;
        }
        let states = distinct(view, prev_events.iter().filter_map(|prev| StateAt::after_in_graph(prev)));
        let found = event.state_before.unwrap_or(trie::EMPTY);
        let finding = match unreadable {
            Some(reason) => finding().found(reason).expected("what the prev_events resolve to"),
            None => match self.difference(view, &states, found) {
                None => return true,
                Some(differences) => describe(view, finding(), &differences),
            },
        };
        if !self.report.add(finding.action("resolved again")) {
            return false;
        }
        let roots: BTreeSet<i64> =
            prev_events.iter().filter_map(|prev| view.graph.state_after(prev)).collect();
        let root = view.graph.resolved(&roots);
        view.room.db.execute(SET_STATE, &[event.nid.into(), root.into()]);
        events.forget(event.nid);
        true
    }

    /// Where a state differs from what these states resolve to. `None` if it does not, or if that cannot be
    /// computed any more.
    pub fn difference(&self, view: &View<'_, '_>, states: &[StateAt], found: i64) -> Option<Vec<Difference>> {
        let db = view.room.db;
        let found = StateAt::root(found);
        let first = states.first().copied().unwrap_or(StateAt::EMPTY);
        let actual = first.changes_to(db, found);
        let mut expected = BTreeMap::new();
        if states.len() > 1 {
            let sets = StateSetsOfRoom::new(view.graph, states.to_vec());
            let resolution = sets.resolve();
            expected = sets.changes(&resolution);
            let differs = |key: &i32| {
                expected.get(key).copied().unwrap_or_else(|| first.get(db, *key)) != found.get(db, *key)
            };
            if expected.keys().chain(actual.keys()).any(differs) && !self.can_resolve(view, &resolution) {
                return None;
            }
        }
        let keys: BTreeSet<i32> = expected.keys().chain(actual.keys()).copied().collect();
        let differences: Vec<Difference> = keys
            .into_iter()
            .map(|key_idx| Difference {
                key_idx,
                found: found.get(db, key_idx),
                expected: expected.get(&key_idx).copied().unwrap_or_else(|| first.get(db, key_idx)),
            })
            .filter(|difference| difference.found != difference.expected)
            .collect();
        (!differences.is_empty()).then_some(differences)
    }

    /// Whether the events that the resolution read still have the content that they had when the state was
    /// resolved first.
    fn can_resolve(&self, view: &View<'_, '_>, resolution: &Resolution) -> bool {
        let checked: BTreeSet<i64> = resolution.checks.iter().map(|check| check.nid).collect();
        checked.iter().all(|nid| {
            let event = view.graph.events.get(*nid);
            self.is_reliable(&event)
                && event.auth_nids.iter().all(|nid| self.is_reliable(&view.graph.events.get(*nid)))
        })
    }

    /// Checks that room roots can be read. What they are depends on the order of arrival, so it cannot be
    /// checked.
    fn check_room_roots(&mut self, view: &View<'_, '_>, nids: &[i64]) {
        let rows = view.room.db.query(ROOM_ROOTS, &[nids.to_vec().into()]);
        let roots: Vec<(i64, String, i64)> =
            rows.map(|row| (row.get("event_nid"), row.get("event_id"), row.get("room_root"))).collect();
        let wrong = self.wrong_roots(view, roots.iter().map(|(_, _, root)| *root).collect());
        for (nid, event_id, root) in roots {
            let Some(reason) = wrong.get(&root) else { continue };
            let finding = Finding::new("room state").event(&event_id).found(reason);
            if self.report.add(finding.expected("the state of the room with the event").action("removed")) {
                view.room.db.execute(SET_ROOM_ROOT, &[nid.into()]);
            }
        }
    }
}

/// The distinct states. A state with an event replaced may equal another root.
pub fn distinct(view: &View<'_, '_>, states: impl Iterator<Item = StateAt>) -> Vec<StateAt> {
    let mut distinct: Vec<StateAt> = Vec::new();
    for state in states {
        if !distinct.iter().any(|other| *other == state || other.changes_to(view.room.db, state).is_empty()) {
            distinct.push(state);
        }
    }
    distinct
}

/// Adds the first state key that differs, and its events, to a finding.
pub fn describe(view: &View<'_, '_>, finding: Finding, differences: &[Difference]) -> Finding {
    let Some(first) = differences.first() else { return finding };
    let row = view.room.db.query_opt(KEY, &[view.room.nid.into(), first.key_idx.into()]);
    let mut subject = match row {
        Some(row) => format!("{} {:?}", row.get::<String>("type"), row.get::<String>("state_key")),
        None => format!("key_idx {}", first.key_idx),
    };
    if differences.len() > 1 {
        subject += &format!(", and {} more keys", differences.len() - 1);
    }
    let id = |nid: Option<i64>| match nid {
        Some(nid) => view.graph.events.get(nid).event.event_id().to_owned(),
        None => "no event".to_owned(),
    };
    finding.subject(subject).found(id(first.found)).expected(id(first.expected))
}
