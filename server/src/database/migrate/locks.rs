//! Waits for locks in a way that stops nobody.
//!
//! A statement that waits for a table makes every later one wait behind it: an analyst's open transaction
//! would stop the server. So a migration waits for a moment only, lets the others pass, and tries again.

use std::error::Error;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tracing::info;

use crate::base::failure::Failure;
use crate::database::db::describe;

/// Ends a wait for a lock.
pub const LIMIT: &str = "set lock_timeout to '2s'";
const PAUSE: Duration = Duration::from_secs(1);
/// With the pauses, some minutes.
const ATTEMPTS: u32 = 60;

/// Repeats `work` for as long as it fails because others hold a lock.
pub async fn retry<T, E: Error + 'static>(
    client: &mut Client,
    mut work: impl AsyncFnMut(&mut Client) -> Result<T, E>,
) -> Result<T, E> {
    let mut attempt = 1;
    loop {
        match work(client).await {
            Err(error) if attempt < ATTEMPTS && of_postgres(&error).is_some_and(is_lock_timeout) => {
                if attempt == 1 {
                    info!("waiting for sessions that use the tables; see pg_stat_activity");
                }
                attempt += 1;
                sleep(PAUSE).await;
            }
            done => return done,
        }
    }
}

/// The failure of `what`, with PostgreSQL's message, and with what to do about a lock.
pub fn explain(what: &str, error: impl Error + 'static) -> Failure {
    match of_postgres(&error) {
        Some(cause) if is_lock_timeout(cause) => Failure::plain(format!(
            "{what}: sessions keep the tables locked. End their transactions (pg_stat_activity shows those \
             that are open for long), and run `matriarch migrate` again. Nothing was half done"
        )),
        Some(cause) => Failure::plain(format!("{what}: {}", describe(cause))),
        None => Failure::new(what, error),
    }
}

fn is_lock_timeout(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// PostgreSQL's error, among the causes of `error`.
fn of_postgres<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e tokio_postgres::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
