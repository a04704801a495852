//! Permits that bound what happens at the same time, such as how many mebibytes of answers are kept.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A number of shared permits. Cheap to clone.
#[derive(Clone)]
pub struct Permits(Arc<Semaphore>);

impl Permits {
    /// `count` permits.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Takes `count` permits, which are returned when the value is dropped. `None` if they are not free in
    /// time.
    pub async fn take(&self, count: u32, time: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(time, Arc::clone(&self.0).acquire_many_owned(count)).await.ok()?.ok()
    }
}
