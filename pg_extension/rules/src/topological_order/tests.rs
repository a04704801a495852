use serde_json::{Value, json};

use super::topological_order;
use crate::Event;

fn event(id: &str, depth: i64, ts: i64, auth: &[&str], prev: &[&str]) -> Event {
    let json = json!({ "depth": depth, "origin_server_ts": ts, "auth_events": auth, "prev_events": prev });
    let Value::Object(json) = json else { unreachable!("an object") };
    Event::new(id, json)
}

fn order(events: &[Event]) -> Vec<&str> {
    let refs: Vec<&Event> = events.iter().collect();
    topological_order(&refs).into_iter().map(|place| events[place].event_id()).collect()
}

#[test]
fn events_come_after_those_that_they_cite() {
    // Depths lie.
    let events = [
        event("$c", 1, 0, &["$a"], &["$b"]),
        event("$b", 2, 0, &[], &["$a"]),
        event("$a", 3, 0, &[], &["$elsewhere"]),
    ];
    assert_eq!(order(&events), ["$a", "$b", "$c"]);
}

#[test]
fn what_does_not_depend_is_ordered_by_depth_time_and_id() {
    let events = [
        event("$d", 2, 1, &[], &[]),
        event("$c", 1, 2, &[], &[]),
        event("$b", 1, 1, &[], &[]),
        event("$a", 1, 1, &[], &[]),
    ];
    assert_eq!(order(&events), ["$a", "$b", "$c", "$d"]);
}

#[test]
fn an_event_that_comes_twice_is_ordered_once() {
    let events =
        [event("$a", 1, 0, &[], &[]), event("$a", 1, 0, &[], &[]), event("$b", 2, 0, &["$a"], &["$a"])];
    assert_eq!(order(&events), ["$a", "$b"]);
}

#[test]
fn circles_and_what_follows_them_are_left_out() {
    let events = [
        event("$a", 1, 0, &[], &["$b"]),
        event("$b", 1, 0, &["$a"], &[]),
        event("$after", 1, 0, &[], &["$a"]),
        event("$self", 1, 0, &[], &["$self"]),
        event("$good", 9, 0, &[], &[]),
    ];
    assert_eq!(order(&events), ["$good"]);
    assert!(order(&[]).is_empty());
}
