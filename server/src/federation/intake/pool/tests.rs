use std::collections::BTreeMap;

use super::{AllUnavailable, Needs, Open, Pool, Unavailable};

fn open(event_id: &str, depth: i64, bytes: usize) -> Open {
    Open {
        event_id: event_id.to_owned(),
        text: "x".repeat(bytes),
        auth_events: vec!["$auth".to_owned()],
        prev_events: Vec::new(),
        depth,
        weight: bytes,
        index: None,
        needs: Needs::default(),
    }
}

fn named(name: &str, later: bool) -> BTreeMap<String, Unavailable> {
    BTreeMap::from([(name.to_owned(), Unavailable { reason: format!("no {name}"), later })])
}

fn unavailable(event_id: &str, later: bool) -> AllUnavailable {
    AllUnavailable { events: named(event_id, later), ..AllUnavailable::default() }
}

#[test]
fn parts_are_bounded_and_in_the_order_of_depth() {
    let events = vec![open("d", 4, 10), open("a", 1, 10), open("c", 3, 50), open("b", 2, 10)];
    let ids = |max_events, max_bytes| -> Vec<Vec<String>> {
        let parts = Pool { events: events.clone() }.parts(max_events, max_bytes);
        parts.into_iter().map(|part| part.into_iter().map(|open| open.event_id).collect()).collect()
    };
    assert_eq!(ids(10, 1000), [["a", "b", "c", "d"]]);
    assert_eq!(ids(3, 1000), [vec!["a", "b", "c"], vec!["d"]]);
    assert_eq!(ids(10, 30), [vec!["a", "b"], vec!["c"], vec!["d"]]);
    // An event over the limit is a part of its own.
    assert_eq!(ids(10, 5), [["a"], ["b"], ["c"], ["d"]]);
    assert!(Pool::default().parts(1, 1).is_empty());
}

#[test]
fn an_event_is_lost_without_an_auth_event() {
    let mut event = open("$e", 1, 1);
    event.needs.events = vec!["$auth".to_owned(), "$state".to_owned()];
    for (may_wait, has_state) in [(true, true), (true, false), (false, true), (false, false)] {
        let lack = event.lacks(&unavailable("$auth", false), has_state, may_wait);
        assert_eq!(lack.map(|lack| lack.reason), Some("no $auth".to_owned()));
    }
    assert!(event.lacks(&unavailable("$other", false), false, true).is_none());
}

#[test]
fn a_given_state_does_without_an_event() {
    let mut event = open("$e", 1, 1);
    event.needs.events = vec!["$state".to_owned()];
    assert!(event.lacks(&unavailable("$state", false), true, true).is_none());
    assert!(event.lacks(&unavailable("$state", false), false, true).is_some());
}

#[test]
fn an_event_is_lost_without_the_state_before_it_if_it_needs_it() {
    let mut event = open("$e", 1, 1);
    let unavailable = AllUnavailable { states: named("$e", false), ..AllUnavailable::default() };
    assert!(event.lacks(&unavailable, false, true).is_none());
    event.needs.state = true;
    assert!(event.lacks(&unavailable, false, true).is_some());
}

#[test]
fn events_of_the_batch_wait_for_servers_that_may_come_back() {
    let mut event = open("$e", 1, 1);
    event.needs.keys = vec![("gone.example".to_owned(), "ed25519:1".to_owned())];
    event.needs.prev_events = vec!["$prev".to_owned()];
    let keys = |later| AllUnavailable { keys: named("gone.example", later), ..AllUnavailable::default() };
    let prev_event = |later| unavailable("$prev", later);
    for unavailable in [&keys as &dyn Fn(bool) -> AllUnavailable, &prev_event] {
        let lacks = |later, may_wait| event.lacks(&unavailable(later), false, may_wait).is_some();
        assert!(lacks(true, true));
        assert!(!lacks(true, false) && !lacks(false, true) && !lacks(false, false));
    }
}
