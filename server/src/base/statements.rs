//! Counts the database statements of a request.

use std::cell::Cell;

tokio::task_local! {
    static COUNT: Cell<u32>;
}

/// Adds to the statements of the current request; outside of one it does nothing.
pub fn count_statements(count: u32) {
    // Background work has no counter.
    let _ = COUNT.try_with(|counter| counter.set(counter.get() + count));
}

/// Runs `work` with a counter of its own, and returns how many statements it took.
pub async fn with_statement_counter<T>(work: impl Future<Output = T>) -> (T, u32) {
    let counted = async {
        let output = work.await;
        (output, COUNT.with(Cell::get))
    };
    COUNT.scope(Cell::new(0), counted).await
}
