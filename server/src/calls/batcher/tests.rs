#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::{BatchLost, Batcher, Group, MAX_OVERDUE};
use crate::base::statements::{count_statements, with_statement_counter};

type Sizes = Arc<Mutex<Vec<usize>>>;

/// A batcher that doubles its items when the gate has a permit, and notes the size of each batch.
fn gated(max_size: usize) -> (Batcher<u32, u32, u32>, Arc<Semaphore>, Sizes) {
    let gate = Arc::new(Semaphore::new(0));
    let sizes = Sizes::default();
    let (inner_gate, inner_sizes) = (Arc::clone(&gate), Arc::clone(&sizes));
    let batcher = Batcher::new("test", max_size, move |_key, items: Vec<u32>| {
        let (gate, sizes) = (Arc::clone(&inner_gate), Arc::clone(&inner_sizes));
        async move {
            sizes.lock().unwrap().push(items.len());
            gate.acquire().await.unwrap().forget();
            count_statements(1);
            items.into_iter().map(|item| item * 2).collect()
        }
    });
    (batcher, gate, sizes)
}

#[tokio::test]
async fn what_arrives_during_a_batch_goes_in_the_next() {
    let (batcher, gate, sizes) = gated(10);
    let submits = (0..8).map(|item| batcher.submit(1, Group::of(item), item));
    let open = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        gate.add_permits(2);
    };
    let (answers, ()) = tokio::join!(join_all(submits), open);
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, [0, 2, 4, 6, 8, 10, 12, 14]);
    assert_eq!(*sizes.lock().unwrap(), [1, 7]);
    assert!(batcher.shared.queues().by_key.is_empty());
}

#[tokio::test]
async fn batches_are_bounded() {
    let (batcher, gate, sizes) = gated(3);
    gate.add_permits(100);
    join_all((0..10).map(|item| batcher.submit(1, Group::of(item), item))).await;
    assert!(sizes.lock().unwrap().iter().all(|size| *size <= 3));
}

#[tokio::test]
async fn keys_do_not_wait_for_each_other() {
    let (batcher, gate, _) = gated(10);
    let (one, two) = (batcher.clone(), batcher.clone());
    let stuck = tokio::spawn(async move { one.submit(1, Group::of(1), 1).await });
    tokio::task::yield_now().await;
    let other = tokio::spawn(async move { two.submit(2, Group::of(2), 2).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    gate.add_permits(2);
    assert_eq!((stuck.await.unwrap(), other.await.unwrap()), (Ok(2), Ok(4)));
}

#[tokio::test]
async fn a_client_that_goes_away_loses_nobodys_answer_and_is_served() {
    let (batcher, gate, sizes) = gated(10);
    let going = batcher.clone();
    let first = tokio::spawn(async move { going.submit(1, Group::of(1), 1).await });
    tokio::task::yield_now().await;
    let staying = batcher.clone();
    let second = tokio::spawn(async move { staying.submit(1, Group::of(2), 2).await });
    tokio::time::sleep(Duration::from_millis(10)).await;
    first.abort();
    gate.add_permits(2);
    assert_eq!(second.await.unwrap(), Ok(4));
    assert_eq!(*sizes.lock().unwrap(), [1, 1]);
}

#[tokio::test]
async fn a_panic_fails_its_batch_and_no_other() {
    let batcher: Batcher<u32, u32, u32> = Batcher::new("test", 1, |_key, items: Vec<u32>| async move {
        assert!(items[0] != 13, "unlucky");
        items
    });
    assert_eq!(batcher.submit(1, Group::of(13), 13).await, Err(BatchLost));
    assert_eq!(timeout(Duration::from_secs(5), batcher.submit(1, Group::of(1), 1)).await.unwrap(), Ok(1));
}

#[tokio::test]
async fn a_batch_without_the_right_number_of_answers_is_lost() {
    let batcher: Batcher<u32, u32, u32> =
        Batcher::new("test", 1, |_key, _items: Vec<u32>| async { Vec::new() });
    assert_eq!(batcher.submit(1, Group::of(1), 1).await, Err(BatchLost));
}

#[tokio::test]
async fn the_statements_of_a_batch_count_for_each_of_its_requests() {
    let (batcher, gate, _) = gated(10);
    gate.add_permits(10);
    let (_, statements) = with_statement_counter(batcher.submit(1, Group::of(1), 1)).await;
    assert_eq!(statements, 1);
}

type Batches = Arc<Mutex<Vec<Vec<u64>>>>;

/// A batcher whose batches take as long as their slowest item says, in milliseconds, and note their items.
fn sleeping() -> (Batcher<u32, u64, u64>, Batches) {
    let batches = Batches::default();
    let noted = Arc::clone(&batches);
    let batcher = Batcher::with_overdue("test", 4, OVERDUE, move |_key, items: Vec<u64>| {
        noted.lock().unwrap().push(items.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(items.iter().copied().max().unwrap())).await;
            items
        }
    });
    (batcher, batches)
}

const OVERDUE: Duration = Duration::from_millis(50);
const SLOW: u64 = 500;

#[tokio::test]
async fn nobody_waits_for_a_slow_batch() {
    let (batcher, batches) = sleeping();
    let started = Instant::now();
    let submit = |group: u32, millis: u64| {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.submit(1, Group::of(group), millis).await })
    };
    let slow = submit(1, SLOW);
    tokio::task::yield_now().await;
    // Another item of the slow group stays behind.
    let (same, other) = (submit(1, 1), submit(2, 2));
    assert_eq!(other.await.unwrap(), Ok(2));
    assert!(started.elapsed() < Duration::from_millis(SLOW));
    assert_eq!((slow.await.unwrap(), same.await.unwrap()), (Ok(SLOW), Ok(1)));
    assert_eq!(*batches.lock().unwrap(), [vec![SLOW], vec![2], vec![1]]);
    assert!(batcher.shared.queues().by_key.is_empty());
}

#[tokio::test]
async fn a_slow_group_ends_up_by_itself() {
    let (batcher, batches) = sleeping();
    for _ in 0..4 {
        let submits = [(0, 1), (1, SLOW), (2, 2), (3, 3), (4, 4)];
        join_all(submits.map(|(group, millis)| batcher.submit(1, Group::of(group), millis))).await;
    }
    batches.lock().unwrap().clear();
    let submits = [(0, 1), (1, SLOW), (2, 2), (3, 3), (4, 4)];
    join_all(submits.map(|(group, millis)| batcher.submit(1, Group::of(group), millis))).await;
    let batches = batches.lock().unwrap();
    assert!(batches.contains(&vec![SLOW]), "{batches:?}");
    // The others share batches again.
    assert!(batches.iter().any(|batch| batch.len() > 2), "{batches:?}");
}

#[tokio::test]
async fn slow_batches_are_bounded() {
    let (batcher, batches) = sleeping();
    for group in 0..10 {
        let batcher = batcher.clone();
        tokio::spawn(async move { batcher.submit(1, Group::of(group), 10 * SLOW).await });
        tokio::time::sleep(OVERDUE * 3).await;
    }
    assert_eq!(batches.lock().unwrap().len(), MAX_OVERDUE + 1);
}
