//! The request that the current task serves: whether its client still waits, and its name in the log.

use tokio::sync::watch;

tokio::task_local! {
    /// Closes when the client does not wait any more.
    static CLIENT: watch::Receiver<()>;
}

/// Runs `work`, the handler of a request. The client counts as disconnected when the sender of `gone` is
/// dropped.
pub async fn with_client<T>(gone: watch::Receiver<()>, work: impl Future<Output = T>) -> T {
    CLIENT.scope(gone, work).await
}

/// Completes when the client of the current request has disconnected. A handler that has nothing to commit
/// may then stop. Never completes outside of a request.
pub async fn client_gone() {
    match CLIENT.try_with(watch::Receiver::clone) {
        // No value is ever sent: this ends when the sender is dropped.
        Ok(mut client) => while client.changed().await.is_ok() {},
        Err(_) => std::future::pending().await,
    }
}

/// Names the user, or the server, in the log lines of the current request.
pub fn log_user(user: &str) {
    tracing::Span::current().record("user", user);
}
