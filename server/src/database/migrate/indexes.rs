//! Indexes that are built while the server runs.
//!
//! A migration is a transaction. An index that it builds keeps writers waiting, for minutes on a big table.
//! So indexes on tables that may be big are files in `sql/indexes/`, which are built concurrently after the
//! migrations.

use tokio_postgres::Client;
use tracing::info;

use super::{failed, locks};
use crate::base::failure::Failure;

/// Names, and the statements that create them.
const INDEXES: [(&str, &str); 2] = [
    ("events_received", include_str!("../../../../sql/indexes/events_received.sql")),
    ("events_sent", include_str!("../../../../sql/indexes/events_sent.sql")),
];
const COMMENTS: &str = include_str!("../../../../sql/indexes/comments.sql");
const IS_VALID: &str = "select indisvalid from pg_index where indexrelid = to_regclass('matriarch.' || $1)";
/// What an interrupted build left.
const DROP: &str = include_str!("../../../../sql/indexes/drop_invalid.sql");

/// Creates those that are not there.
pub async fn create(client: &mut Client) -> Result<(), Failure> {
    for (name, statement) in INDEXES {
        let valid = client.query_opt(IS_VALID, &[&name]).await.map_err(failed("cannot look for indexes"))?;
        match valid.map(|row| row.try_get(0)).transpose().map_err(failed("cannot look for indexes"))? {
            Some(true) => continue,
            Some(false) => {
                client.batch_execute(DROP).await.map_err(failed("cannot drop an invalid index"))?
            }
            None => {}
        }
        info!(name, "building an index");
        // It waits for whoever uses the table, and keeps nobody waiting meanwhile.
        client.batch_execute("set lock_timeout to 0").await.map_err(failed("cannot wait for locks"))?;
        client.batch_execute(statement).await.map_err(failed("cannot build an index"))?;
        client.batch_execute(locks::LIMIT).await.map_err(failed("cannot limit the wait for locks"))?;
    }
    client.batch_execute(COMMENTS).await.map_err(failed("cannot comment on indexes"))
}
