#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use tokio::sync::oneshot::error::TryRecvError;

use super::{REMEMBERED, Waiters};
use crate::hub::topic::Topic;

#[test]
fn a_room_wakes_those_in_it_and_no_others() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    let (_, mut alice) = waiters.register(mark, 1, &[10, 11]).unwrap();
    let (_, mut bob) = waiters.register(mark, 2, &[12]).unwrap();
    waiters.wake(&[Topic::Room(11)], true);
    assert_eq!(alice.try_recv(), Ok(()));
    assert_eq!(bob.try_recv(), Err(TryRecvError::Empty));
}

#[test]
fn every_device_of_a_user_is_woken() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    let (_, mut one) = waiters.register(mark, 1, &[]).unwrap();
    let (_, mut two) = waiters.register(mark, 1, &[]).unwrap();
    waiters.wake(&[Topic::User(1)], true);
    assert_eq!((one.try_recv(), two.try_recv()), (Ok(()), Ok(())));
}

#[test]
fn what_was_woken_since_the_mark_is_not_waited_for() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    waiters.wake(&[Topic::Room(5)], true);
    assert!(waiters.register(mark, 1, &[5]).is_none());
    assert!(waiters.register(mark, 1, &[6]).is_some());
    assert!(waiters.register(waiters.mark(), 1, &[5]).is_some());
    waiters.wake(&[Topic::User(1)], true);
    assert!(waiters.register(mark, 1, &[6]).is_none());
}

#[test]
fn a_mark_older_than_the_memory_counts_as_woken() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    for _ in 0..=REMEMBERED {
        waiters.wake(&[Topic::Room(1)], true);
    }
    assert!(waiters.register(mark, 1, &[2]).is_none());
}

#[test]
fn wake_all_reaches_those_who_are_about_to_wait() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    let (_, mut waiting) = waiters.register(mark, 1, &[]).unwrap();
    waiters.wake_all();
    assert_eq!(waiting.try_recv(), Ok(()));
    assert!(waiters.register(mark, 2, &[]).is_none());
    assert!(waiters.register(waiters.mark(), 2, &[]).is_some());
}

#[test]
fn rooms_of_a_second_device_do_not_unseat_those_of_the_first() {
    let mut waiters = Waiters::new();
    let mark = waiters.mark();
    let (_, mut newer) = waiters.register(mark, 1, &[1, 2]).unwrap();
    let (_, _older) = waiters.register(mark, 1, &[1]).unwrap();
    waiters.wake(&[Topic::Room(2)], true);
    assert_eq!(newer.try_recv(), Ok(()));
}

#[test]
fn rooms_left_behind_wake_no_more() {
    let mut waiters = Waiters::new();
    let (id, _gone) = waiters.register(waiters.mark(), 1, &[1, 2]).unwrap();
    waiters.forget(1, id);
    let (_, mut waiting) = waiters.register(waiters.mark(), 1, &[1]).unwrap();
    waiters.wake(&[Topic::Room(2)], true);
    assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(waiters.by_room.len(), 1);
}

#[test]
fn what_was_heard_is_counted_until_taken() {
    let mut waiters = Waiters::new();
    waiters.wake(&[Topic::Room(1), Topic::Room(1), Topic::User(1)], true);
    waiters.wake(&[Topic::Room(2)], false);
    let heard = waiters.take_heard();
    assert_eq!((heard.get(&1), heard.get(&2), heard.len()), (Some(&2), None, 1));
    assert!(waiters.take_heard().is_empty());
}
