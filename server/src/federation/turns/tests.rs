use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::{SHORT, Turns};

#[tokio::test]
async fn a_room_has_one_turn_at_a_time() {
    let turns = Turns::new();
    let first = turns.take("!a:x").await;
    let wait = Duration::from_millis(20);
    assert!(timeout(wait, turns.take("!a:x")).await.is_err());
    assert!(timeout(wait, turns.take("!b:x")).await.is_ok());
    first.end(1);
    assert!(timeout(wait, turns.take("!a:x")).await.is_ok());
}

#[tokio::test]
async fn a_slow_turn_is_followed_by_a_pause_and_a_smaller_one() {
    let turns = Turns::new();
    assert_eq!(turns.size("!a:x", 50), 50);
    let began = Instant::now();
    let turn = turns.take("!a:x").await;
    sleep(SHORT * 2).await;
    turn.end(50);
    assert!((1..=50).contains(&turns.size("!a:x", 50)));
    assert_eq!(turns.size("!a:x", 500), turns.size("!a:x", 100));
    let _next = turns.take("!a:x").await;
    assert!(began.elapsed() >= SHORT * 4);
}
