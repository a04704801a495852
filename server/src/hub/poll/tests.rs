use std::collections::HashMap;

use super::{Horizon, OVERLAP_POLLS, unheard};
use crate::hub::topic::Topic;

fn event(event_nid: i64, room_nid: i64, xid: &str) -> super::NewEvent {
    (event_nid, room_nid, xid.to_owned())
}

#[test]
fn an_event_is_new_once() {
    let mut horizon = Horizon::new(100);
    assert_eq!(horizon.advance(vec![event(102, 1, "a")]).len(), 1);
    assert!(horizon.advance(vec![event(102, 1, "a")]).is_empty());
}

#[test]
fn an_event_that_commits_late_is_found() {
    let mut horizon = Horizon::new(100);
    horizon.advance(vec![event(105, 1, "b")]);
    assert_eq!(horizon.oldest(), 100);
    assert_eq!(horizon.advance(vec![event(103, 1, "a"), event(105, 1, "b")]), [event(103, 1, "a")]);
}

#[test]
fn old_events_leave_the_window() {
    let mut horizon = Horizon::new(0);
    for nid in 1..=50 {
        let new = horizon.advance(vec![event(nid, 1, "a")]);
        assert_eq!(new.len(), 1);
    }
    assert_eq!(horizon.oldest(), 50 - i64::try_from(OVERLAP_POLLS).unwrap_or_default() + 1);
    assert!(horizon.seen.len() <= OVERLAP_POLLS);
}

#[test]
fn quiet_polls_keep_the_horizon() {
    let mut horizon = Horizon::new(7);
    for _ in 0..30 {
        assert!(horizon.advance(vec![]).is_empty());
    }
    assert_eq!(horizon.oldest(), 7);
}

#[test]
fn a_room_with_fewer_wakes_than_transactions_is_unheard() {
    let events =
        [event(1, 10, "a"), event(2, 10, "a"), event(3, 11, "b"), event(4, 12, "c"), event(5, 12, "d")];
    let heard = HashMap::from([(10, 1), (12, 1)]);
    assert_eq!(unheard(&events, &heard), [Topic::Room(11), Topic::Room(12)]);
}
