//! What may be done a number of times at once, such as keeping so many mebibytes of answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// A number of permits, shared by all who need some. Cheap to clone.
#[derive(Clone)]
pub struct Permits(Arc<Semaphore>);

impl Permits {
    /// `count` permits.
    pub fn new(count: usize) -> Self {
        Self(Arc::new(Semaphore::new(count)))
    }

    /// Takes `count` permits, which are given back when the value is dropped; `None` if they are not free in time.
    pub async fn take(&self, count: u32, time: Duration) -> Option<OwnedSemaphorePermit> {
        timeout(time, Arc::clone(&self.0).acquire_many_owned(count)).await.ok()?.ok()
    }
}
