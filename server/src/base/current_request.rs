//! The request that the current task serves: whether its client still waits, and how the log names it.

use tokio::sync::watch;

tokio::task_local! {
    /// Closes when nobody waits for the answer any more.
    static CLIENT: watch::Receiver<()>;
}

/// Runs `work`, the handler of a request. The client is gone once `work` outlives the sender of `gone`.
pub async fn with_client<T>(gone: watch::Receiver<()>, work: impl Future<Output = T>) -> T {
    CLIENT.scope(gone, work).await
}

/// Completes when the client of the current request has gone away. A handler that has nothing to commit may give up
/// then. Outside of a request it never completes.
pub async fn client_gone() {
    match CLIENT.try_with(watch::Receiver::clone) {
        // Nothing is ever sent: this ends when the sender is dropped.
        Ok(mut client) => while client.changed().await.is_ok() {},
        Err(_) => std::future::pending().await,
    }
}

/// Names the user, or the server, in the log lines of the current request.
pub fn log_user(user: &str) {
    tracing::Span::current().record("user", user);
}
