//! Notices when the database's host falls silent.
//!
//! No packet tells of a host that lost its power, was cut off or was paused, and a statement may rightly take
//! minutes. So the host is asked for a sign of life on a connection of its own, which waits for no lock, no
//! disk and no standby.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_postgres::Client;
use tracing::warn;

use super::connect::Target;
use super::db::Db;

/// How often the host is asked, and how long to wait before connecting again.
const INTERVAL: Duration = Duration::from_secs(1);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(4);

/// Watches the host for as long as the node runs. When it falls silent, all connections are given up, and new
/// ones go to whichever host answers.
pub async fn run(db: Db, target: Target) {
    loop {
        if let Ok((client, driver)) = target.connect().await {
            tokio::select! {
                // The client returns its errors.
                _ = driver => {}
                () = until_silent(&client) => {
                    warn!("the database's host is silent: giving up its connections");
                    db.abandon_silent_host();
                    continue;
                }
            }
        }
        sleep(INTERVAL).await;
    }
}

/// Returns when the host does not answer. A connection that fails ends its driver.
async fn until_silent(client: &Client) {
    loop {
        sleep(INTERVAL).await;
        if timeout(ANSWER_TIMEOUT, client.batch_execute("select 1")).await.is_err() {
            return;
        }
    }
}
