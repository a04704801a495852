use super::{Budget, EVENTS, Kind, ROUNDS, Requests};
use tokio::time::Instant;

#[test]
fn requests_end() {
    let requests = Requests(2.into());
    assert_eq!([(); 4].map(|()| requests.take()), [true, true, false, false]);
}

#[test]
fn rounds_end() {
    let mut budget = Budget::new(Kind::Live);
    for _ in 0..ROUNDS {
        assert_eq!(budget.round(), Ok(()));
    }
    assert_eq!([budget.round(), budget.round()], [Err("rounds"); 2]);
}

#[test]
fn time_ends() {
    let mut budget = Budget::new(Kind::Live);
    budget.deadline = Instant::now();
    assert!(budget.time_left().is_zero());
    assert_eq!(budget.round(), Err("time"));
}

#[test]
fn history_has_less_time_and_more_states() {
    let (live, old) = (Budget::new(Kind::Live), Budget::new(Kind::Backfilled));
    assert!(old.deadline < live.deadline);
    let states = |budget: &Budget| (0..100).filter(|_| budget.states.take()).count();
    assert_eq!((states(&live), states(&old)), (5, 20));
}

#[test]
fn events_end() {
    let mut budget = Budget::new(Kind::Live);
    assert_eq!((0..=EVENTS).filter(|_| budget.event(1)).count(), EVENTS);
    assert_eq!(budget.round(), Err("events"));
}

#[test]
fn an_event_that_is_too_much_ends_it() {
    let mut budget = Budget::new(Kind::Live);
    assert!(budget.event(budget.bytes));
    assert_eq!(budget.round(), Err("bytes"));
    let mut budget = Budget::new(Kind::Live);
    assert!(!budget.event(budget.bytes + 1) && !budget.event(1));
    assert_eq!(budget.round(), Err("bytes"));
}
