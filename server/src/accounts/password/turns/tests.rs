#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::yield_now;

use super::Turns;

/// Has `who` wait for a turn, and note in `served` that they had it.
async fn wait(turns: &Turns, who: &'static str, served: &Arc<Mutex<Vec<&'static str>>>) {
    let (turns, served) = (turns.clone(), Arc::clone(served));
    tokio::spawn(async move {
        let turn = turns.take(who).await;
        served.lock().push(if turn.is_some() { who } else { "refused" });
    });
    yield_now().await;
}

#[tokio::test]
async fn who_asks_for_much_does_not_delay_who_asks_for_little() {
    let turns = Turns::new(1, 10);
    let served = Arc::default();
    let first = turns.take("greedy").await.unwrap();
    for who in ["greedy", "greedy", "greedy", "modest"] {
        wait(&turns, who, &served).await;
    }
    drop(first);
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(*served.lock(), ["greedy", "modest", "greedy", "greedy"]);
    assert!(turns.take("greedy").await.is_some());
}

#[tokio::test]
async fn who_asks_for_the_most_gives_way() {
    let turns = Turns::new(1, 3);
    let served = Arc::default();
    let first = turns.take("greedy").await.unwrap();
    for who in ["greedy", "greedy", "greedy", "greedy"] {
        wait(&turns, who, &served).await;
    }
    assert_eq!(*served.lock(), ["refused"]);
    wait(&turns, "modest", &served).await;
    yield_now().await;
    assert_eq!(*served.lock(), ["refused", "refused"]);
    drop(first);
    for _ in 0..10 {
        yield_now().await;
    }
    assert_eq!(served.lock()[2..], ["greedy", "modest", "greedy"]);
}

#[tokio::test]
async fn a_turn_is_not_lost_with_who_waits_no_more() {
    let turns = Turns::new(1, 3);
    let first = turns.take("a").await.unwrap();
    let gone = tokio::spawn({
        let turns = turns.clone();
        async move { turns.take("b").await.is_some() }
    });
    yield_now().await;
    gone.abort();
    yield_now().await;
    drop(first);
    assert!(turns.take("c").await.is_some());
}
