//! State resolution of any room: events that cite any older events, authorized or not, and any states of
//! them.

#![no_main]

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use matriarch_rules::{
    Event, RoomVersion, auth_types_for_event, check_state_dependent, check_state_independent,
    state_resolution::{
        EventNid,
        memory::{MemoryRoom, StateMap},
    },
};
use matriarch_rules_fuzz::{event, version};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes make no room.
    _ = check(&mut Unstructured::new(bytes));
});

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let version = version(u)?;
    let mut room = MemoryRoom::new(version);
    // The states after the events, which further events are added to and which are resolved.
    let mut states = vec![begin(&mut room)];
    for _ in 0..u.int_in_range(1..=20)? {
        let mut after = u.choose(&states)?.clone();
        if let Some(nid) = add(u, version, &mut room, &after)? {
            if let Some(key) = room.key(nid) {
                after.insert(key, nid);
            }
            states.push(after);
        }
    }
    let mut sets: Vec<StateMap> = Vec::new();
    for _ in 0..u.int_in_range(0..=4)? {
        sets.push(u.choose(&states)?.clone());
    }

    let (resolved, steps) = room.resolve(&sets);
    for (key, nid) in &resolved {
        assert_eq!(room.key(*nid).as_ref(), Some(key));
    }
    for set in &sets {
        let elsewhere = |key, nid| sets.iter().any(|set| set.get(key) != Some(nid));
        assert!(
            set.iter().all(|(key, nid)| elsewhere(key, nid) || resolved.get(key) == Some(nid)),
            "unconflicted"
        );
    }
    if let [one] = &sets[..] {
        assert_eq!(&resolved, one);
    }
    // The order of states and repeated states do not matter.
    sets.reverse();
    assert_eq!(room.resolve(&sets).0, resolved);
    sets.extend(sets.clone());
    let (again, again_steps) = room.resolve(&sets);
    assert_eq!(again, resolved);
    assert_eq!((again_steps.auth_difference, again_steps.checks), (steps.auth_difference, steps.checks));
    Ok(())
}

/// The first events of a room, which its creator has joined.
fn begin(room: &mut MemoryRoom) -> StateMap {
    let events = [
        (
            "$create:a",
            json!({ "type": "m.room.create", "state_key": "", "content": { "creator": "@alice:a" } }),
        ),
        (
            "$join",
            json!({ "type": "m.room.member", "state_key": "@alice:a", "content": { "membership": "join" } }),
        ),
        (
            "$rules",
            json!({ "type": "m.room.join_rules", "state_key": "", "content": { "join_rule": "public" } }),
        ),
    ];
    let mut state = StateMap::new();
    for (event_id, mut json) in events {
        json["sender"] = "@alice:a".into();
        json["room_id"] = "!create:a".into();
        json["auth_events"] = if event_id == "$create:a" { json!([]) } else { json!(["$create:a"]) };
        let nid = room.push(Event::new(event_id, json.as_object().cloned().unwrap_or_default()));
        if let Some(key) = room.key(nid) {
            state.insert(key, nid);
        }
    }
    state
}

/// Adds an event to this state, or one that cites any events. Returns its number, unless the rules reject it.
fn add(
    u: &mut Unstructured<'_>,
    version: &RoomVersion,
    room: &mut MemoryRoom,
    state: &StateMap,
) -> Result<Option<EventNid>> {
    let mut json = event(u)?;
    let is_honest = u.ratio(4, 5)?;
    let cited: Vec<EventNid> = if is_honest {
        let event = Event::new("$", json.clone());
        let wanted = auth_types_for_event(
            version,
            event.event_type(),
            event.sender(),
            event.state_key(),
            event.content(),
        );
        wanted.iter().filter_map(|key| state.get(key).copied()).collect()
    } else {
        let any = |u: &mut Unstructured<'_>| u.int_in_range(0..=room.len() - 1);
        (0..u.int_in_range(0..=4)?).map(|_| Ok(any(u)? as EventNid)).collect::<Result<_>>()?
    };
    let ids: Value = cited.iter().map(|nid| room.event(*nid).event_id()).collect();
    json.insert("auth_events".to_owned(), ids);
    json.insert("prev_events".to_owned(), json!(["$join"]));
    let event = Event::new(format!("${}", room.len()), json);
    let fetch = |event_id: &str| room.nid(event_id).map(|nid| Arc::clone(room.event(nid)));
    let allowed = check_state_independent(version, &event, fetch).is_ok()
        && check_state_dependent(version, &event, |event_type, state_key| {
            let at = |nid: &EventNid| room.event(*nid).is(event_type, state_key);
            let create = (event_type == "m.room.create").then_some(0);
            cited.iter().copied().find(at).or(create).map(|nid| Arc::clone(room.event(nid)))
        })
        .is_ok();
    // Events with a wrong verdict must do no harm either.
    let rejected = if u.ratio(1, 20)? { allowed } else { !allowed };
    let nid = room.push(event.with_rejected(rejected));
    Ok((!rejected).then_some(nid))
}
