//! Housekeeping: deletes what has expired.
//!
//! Replaced access tokens are deleted by the refresh, the login or the first use that ends them.

use std::time::Duration;

use super::db::Db;

/// How often each node prunes.
const INTERVAL: Duration = Duration::from_secs(300);

/// Prunes every five minutes, for as long as the node runs. A failure is logged by [`Db`], and the next round makes
/// up for it.
pub async fn run(db: Db) {
    // Nodes that start together should not prune together.
    tokio::time::sleep(INTERVAL.mul_f64(rand::random::<f64>())).await;
    loop {
        let _logged = db.query(include_str!("housekeeping.sql"), &[]).await;
        let _logged = db.query("select matriarch.prune_outgoing()", &[]).await;
        let _logged = db.query("select matriarch.prune_keys()", &[]).await;
        let _logged = db.query("select matriarch.prune_state_downloads()", &[]).await;
        tokio::time::sleep(INTERVAL).await;
    }
}
