//! Explains state resolution: its result for given events, and its steps before an event.

use std::{collections::BTreeMap, rc::Rc};

use pgrx::{Array, iter::TableIterator, name, pg_extern};

use super::{in_room_of, refuse, rule_and_reason};
use crate::{
    base::{
        connection::connect,
        spi::{Db, Mode},
    },
    room::{
        graph_events::GraphEvent,
        resolve::{RoomGraph, StateSetsOfRoom},
        state_at::StateAt,
    },
};

type Entries = TableIterator<'static, (name!(room_nid, i64), name!(key_idx, i32), name!(event_nid, i64))>;

/// The current state that a room would have if these events were its forward extremities.
#[pg_extern(stable)]
fn resolve_state(event_ids: Array<'_, &str>) -> Entries {
    let event_ids: Vec<&str> = event_ids.iter().flatten().collect();
    let entries = connect(Mode::Read, |db| {
        in_room_of(db, &event_ids, |room, graph, events| {
            let room_nid = room.nid;
            resolved_after(graph, events).map(|state| (room_nid, state))
        })
    });
    match entries.and_then(|entries| entries) {
        Ok((room_nid, state)) => {
            TableIterator::new(state.into_iter().map(move |(key_idx, nid)| (room_nid, key_idx, nid)))
        }
        Err(reason) => refuse(reason),
    }
}

fn states_after(events: &[Rc<GraphEvent>]) -> Result<Vec<StateAt>, String> {
    let mut states: Vec<StateAt> = Vec::new();
    for event in events {
        let state = StateAt::after_in_graph(event);
        let state =
            state.ok_or_else(|| format!("the state after {} is not known", event.event.event_id()))?;
        if !states.contains(&state) {
            states.push(state);
        }
    }
    Ok(states)
}

fn resolved_after(
    graph: RoomGraph<'_, '_, '_>,
    events: &[Rc<GraphEvent>],
) -> Result<BTreeMap<i32, i64>, String> {
    let states = states_after(events)?;
    let first = *states.first().ok_or("no event is named")?;
    let mut entries: BTreeMap<i32, Option<i64>> = StateAt::EMPTY.changes_to(graph.db, first);
    if states.len() > 1 {
        let sets = StateSetsOfRoom::new(graph, states);
        entries.extend(sets.changes(&sets.resolve()));
    }
    Ok(entries.into_iter().filter_map(|(key, nid)| Some((key, nid?))).collect())
}

/// A row of the explanation.
struct Step {
    phase: &'static str,
    nid: i64,
    verdict: Option<bool>,
    rule: Option<String>,
    reason: Option<String>,
}

impl Step {
    fn note(phase: &'static str, nid: i64, reason: impl Into<Option<String>>) -> Self {
        Self { phase, nid, verdict: None, rule: None, reason: reason.into() }
    }
}

/// The steps that resolved the states after an event's previous events.
#[pg_extern(stable)]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn explain_resolution(
    event_id: &str,
) -> TableIterator<
    'static,
    (
        name!(step, i32),
        name!(phase, &'static str),
        name!(event_nid, i64),
        name!(allowed, Option<bool>),
        name!(rule, Option<String>),
        name!(reason, Option<String>),
    ),
> {
    let steps = connect(Mode::Read, |db| {
        in_room_of(db, &[event_id], |_, graph, events| steps(db, graph, &events[0])).and_then(|steps| steps)
    });
    let steps = steps.unwrap_or_else(|reason| refuse(reason));
    TableIterator::new(
        (1..)
            .zip(steps)
            .map(|(number, step)| (number, step.phase, step.nid, step.verdict, step.rule, step.reason)),
    )
}

fn steps(db: &Db<'_>, graph: RoomGraph<'_, '_, '_>, event: &GraphEvent) -> Result<Vec<Step>, String> {
    graph.events.load(event.prev_nids.iter().copied());
    let prev_events: Vec<Rc<GraphEvent>> = event.prev_nids.iter().map(|nid| graph.events.get(*nid)).collect();
    let states = states_after(&prev_events)?;
    let mut steps: Vec<Step> =
        prev_events.iter().map(|prev| Step::note("prev event", prev.nid, None)).collect();
    if states.len() < 2 {
        return Ok(steps);
    }
    let sets = StateSetsOfRoom::new(graph, states);
    let resolution = sets.resolve();
    for ((event_type, state_key), nids) in sets.conflicted_state() {
        let note = format!("{event_type} {state_key:?}");
        steps.extend(nids.into_iter().map(|nid| Step::note("conflicted state", nid, note.clone())));
    }
    let parts = [
        ("auth difference", &resolution.auth_difference),
        ("conflicted state subgraph", &resolution.conflicted_subgraph),
    ];
    for (phase, nids) in parts {
        steps.extend(nids.iter().map(|nid| Step::note(phase, *nid, None)));
    }
    let mut checks = resolution.checks.iter().map(|check| {
        let allowed = check.verdict.is_ok();
        let (rule, reason) = rule_and_reason(check.verdict.clone());
        Step { phase: "check", nid: check.nid, verdict: Some(allowed), rule, reason }
    });
    let power_events = resolution.power_events.len();
    steps.extend(checks.by_ref().take(power_events).map(|step| Step { phase: "power event", ..step }));
    steps.extend(resolution.mainline.iter().map(|nid| Step::note("mainline", *nid, None)));
    let other = if resolution.other_events.is_empty() { "check" } else { "other event" };
    steps.extend(checks.map(|step| Step { phase: other, ..step }));
    graph.events.load(resolution.state.values().copied());
    for ((event_type, state_key), nid) in &resolution.state {
        steps.push(Step::note("result", *nid, format!("{event_type} {state_key:?}")));
    }
    let resolved = sets.changes(&resolution);
    let before = event.state_before.map(StateAt::root);
    let differs = before.is_some_and(|before| resolved.iter().any(|(key, nid)| before.get(db, *key) != *nid));
    if differs {
        let note = "the state stored before the event is another: it was given with the event".to_owned();
        steps.push(Step::note("stored state", event.nid, note));
    }
    Ok(steps)
}
