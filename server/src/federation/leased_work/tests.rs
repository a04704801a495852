use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use super::{ApiError, LeasedWork, run, while_renewed};

/// Work that is a list of numbers. Each takes until a permit is available.
#[derive(Clone, Default)]
struct Numbers(Arc<Shared>);

struct Shared {
    due: Mutex<VecDeque<Result<u32, ()>>>,
    come: Notify,
    begun: Mutex<Vec<u32>>,
    may_end: Semaphore,
    ended: Semaphore,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            due: Mutex::default(),
            come: Notify::new(),
            begun: Mutex::default(),
            may_end: Semaphore::new(0),
            ended: Semaphore::new(0),
        }
    }
}

impl LeasedWork for Numbers {
    type Lease = u32;

    const WORKERS: usize = 2;
    const POLL: Duration = Duration::from_secs(600);

    fn wake_up(&self) -> &Notify {
        &self.0.come
    }

    async fn claim(&self, limit: usize) -> Result<Vec<u32>, ApiError> {
        assert!((1..=Self::WORKERS).contains(&limit));
        match self.0.due.lock().pop_front() {
            Some(Ok(number)) => Ok(vec![number]),
            Some(Err(())) => Err(ApiError::internal()),
            None => Ok(Vec::new()),
        }
    }

    async fn work(self, number: u32) {
        self.0.begun.lock().push(number);
        self.0.may_end.acquire().await.expect("it is open").forget();
        self.0.ended.add_permits(1);
        assert!(number != 7, "work that fails");
    }
}

impl Numbers {
    fn add(&self, due: impl IntoIterator<Item = Result<u32, ()>>) {
        self.0.due.lock().extend(due);
        self.0.come.notify_one();
    }

    /// Lets work end, and waits until it has ended.
    async fn end(&self, count: u32) {
        self.0.may_end.add_permits(count as usize);
        let ended = timeout(Duration::from_secs(10), self.0.ended.acquire_many(count));
        ended.await.expect("it ends in time").expect("it is open").forget();
    }

    async fn begun(&self, count: usize) -> Vec<u32> {
        while self.0.begun.lock().len() < count {
            tokio::task::yield_now().await;
        }
        self.0.begun.lock().clone()
    }
}

#[tokio::test]
async fn no_more_than_so_many_work_and_a_failure_ends_nobody_else() {
    let numbers = Numbers::default();
    let running = tokio::spawn(run(numbers.clone()));
    numbers.add([Ok(7), Ok(8), Ok(9), Ok(10)]);
    assert_eq!(numbers.begun(2).await, [7, 8]);
    numbers.end(1).await;
    assert_eq!(numbers.begun(3).await, [7, 8, 9]);
    numbers.end(3).await;
    assert_eq!(numbers.begun(4).await, [7, 8, 9, 10]);
    // Work that arrives later is done before the next poll.
    numbers.add([Ok(11)]);
    assert_eq!(numbers.begun(5).await, [7, 8, 9, 10, 11]);
    running.abort();
}

#[tokio::test]
async fn a_claim_that_fails_is_made_again() {
    let numbers = Numbers::default();
    let running = tokio::spawn(run(numbers.clone()));
    numbers.add([Err(())]);
    while !numbers.0.due.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    numbers.add([Ok(1)]);
    assert_eq!(numbers.begun(1).await, [1]);
    running.abort();
}

#[tokio::test]
async fn work_is_renewed_until_it_is_done() {
    let renewed = Arc::new(Semaphore::new(0));
    let renew = || async {
        renewed.add_permits(1);
        Ok(())
    };
    let work = async {
        let _permits = renewed.acquire_many(3).await;
        Ok::<_, ()>("done")
    };
    assert_eq!(while_renewed(Duration::from_millis(1), renew, work).await, Ok("done"));
}

#[tokio::test]
async fn work_whose_lease_is_lost_ends() {
    let renew = || async { Err("lost") };
    assert_eq!(while_renewed(Duration::from_millis(1), renew, pending::<Result<(), _>>()).await, Err("lost"));
}
