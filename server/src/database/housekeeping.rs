//! Housekeeping: deletes expired rows.
//!
//! Replaced access tokens are deleted by the refresh, the login or the first use that ends them.

use std::time::Duration;

use super::db::Db;

/// How often each node deletes expired rows.
const INTERVAL: Duration = Duration::from_secs(300);

/// Deletes expired rows every five minutes, for as long as the node runs. [`Db`] logs a failure; the next
/// round tries again.
pub async fn run(db: Db) {
    // A random delay, so that nodes that start together do not run it together.
    tokio::time::sleep(INTERVAL.mul_f64(rand::random::<f64>())).await;
    loop {
        let _logged = db.query(include_str!("housekeeping.sql"), &[]).await;
        let _logged = db.query("select matriarch.prune_outgoing()", &[]).await;
        let _logged = db.query("select matriarch.prune_keys()", &[]).await;
        let _logged = db.query("select matriarch.prune_state_downloads()", &[]).await;
        tokio::time::sleep(INTERVAL).await;
    }
}
