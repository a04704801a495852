//! The authorization rules on any event, against any state.

#![no_main]

use std::collections::BTreeMap;

use arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use matriarch_rules::{
    Event, auth_types_for_event, check_state_dependent, check_state_independent,
    power_levels::{LevelName, PowerLevels},
    redaction,
};
use matriarch_rules_fuzz::{event, user, version};
use serde_json::{Value, json};

fuzz_target!(|bytes: &[u8]| {
    // Too few bytes make no room.
    _ = check(&mut Unstructured::new(bytes));
});

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let version = version(u)?;
    let mut state: BTreeMap<(String, String), Event> = BTreeMap::new();
    for index in 0..u.int_in_range(1..=8)? {
        let mut json = event(u)?;
        if index == 0 {
            json.insert("type".to_owned(), "m.room.create".into());
            json.insert("state_key".to_owned(), "".into());
        }
        let event = Event::new(format!("${index}"), json).with_rejected(u.ratio(1, 10)?);
        if let Some(state_key) = event.state_key() {
            state.insert((event.event_type().to_owned(), state_key.to_owned()), event);
        }
    }
    let mut json = event(u)?;
    let cited: Vec<Value> = (0..u.int_in_range(0..=6)?)
        .map(|_| Ok(format!("${}", u.int_in_range(0..=8)?).into()))
        .collect::<Result<_>>()?;
    json.insert("auth_events".to_owned(), cited.into());
    json.insert("prev_events".to_owned(), if u.ratio(1, 10)? { json!([]) } else { json!(["$1"]) });
    let event = Event::new("$new", json);

    _ = check_state_independent(version, &event, |event_id| {
        state.values().find(|known| known.event_id() == event_id)
    });
    let wanted =
        auth_types_for_event(version, event.event_type(), event.sender(), event.state_key(), event.content());
    let verdict = check_state_dependent(version, &event, |event_type, state_key| {
        let key = (event_type.to_owned(), state_key.to_owned());
        // The auth events alone must give the same verdict: the rules must not read other state.
        assert!(event_type == "m.room.create" || wanted.contains(&key), "{key:?} is not among {wanted:?}");
        state.get(&key)
    });
    let again = check_state_dependent(version, &event, |event_type, state_key| {
        state.get(&(event_type.to_owned(), state_key.to_owned()))
    });
    assert_eq!(verdict, again);

    let Some(create) = state.get(&("m.room.create".to_owned(), String::new())) else { return Ok(()) };
    let levels =
        PowerLevels::new(version, create, state.get(&("m.room.power_levels".to_owned(), String::new())));
    _ = levels.may(user(u)?, LevelName::Ban);
    _ = levels.may_send(user(u)?, event.event_type(), event.is_state());
    _ = redaction::applies(version, &event, create, &levels);
    Ok(())
}
