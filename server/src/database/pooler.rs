//! Refuses a pooler that mixes up prepared statements.
//!
//! A node prepares each statement once for a connection. A pooler in transaction mode may give each
//! transaction of a connection to another backend. PgBouncer 1.21 and later bring the statements along.
//! Earlier versions do not: a statement is missing there, or is that of another node under the same name.

use std::time::Duration;

use tokio::time::timeout;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::connect::Target;
use super::db::describe;
use super::migrate::Connection;
use crate::base::failure::Failure;

/// How long a pooler may take to find a second backend.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(10);

const REFUSED: &str = "a pooler stands before the database, in transaction mode, and loses prepared \
     statements: use PgBouncer 1.21 or newer with `max_prepared_statements`, its session mode, or a direct \
     connection";

/// Fails if connections by `target` lose their prepared statements.
///
/// A statement is prepared, then another connection keeps a transaction open: of a pooler, it occupies the
/// backend that was used last. Where the first connection cannot run its statement then, it was lost.
pub async fn check(target: &Target) -> Result<(), Failure> {
    let first = Connection::open(target).await?;
    let second = Connection::open(target).await?;
    if count_statements(&first).await? > 0 {
        return Err(Failure::plain(REFUSED));
    }
    let failed = |error| Failure::plain(format!("cannot look for a pooler: {}", describe(&error)));
    let statement = first.client.prepare("select 1").await.map_err(failed)?;
    second.client.batch_execute("begin; select 1").await.map_err(failed)?;
    let ran = timeout(BACKEND_TIMEOUT, first.client.query(&statement, &[])).await;
    // The connection ends anyway.
    let _ = second.client.batch_execute("rollback").await;
    match ran {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_of_a_pooler(&error) => Err(Failure::plain(REFUSED)),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(Failure::plain(
            "a pooler gives this node one connection to the database: its pool needs `database.pool_size` \
             and two more for each node",
        )),
    }
}

fn is_of_a_pooler(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|code| {
        [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DUPLICATE_PSTATEMENT, SqlState::PROTOCOL_VIOLATION]
            .contains(code)
    })
}

/// How many statements of a node the backend knows, before this node has prepared any: those of other nodes.
async fn count_statements(connection: &Connection) -> Result<usize, Failure> {
    const STATEMENTS: &str = "select name from pg_prepared_statements where name ~ '^s[0-9]+$'";
    let rows = connection.client.simple_query(STATEMENTS).await;
    let rows =
        rows.map_err(|error| Failure::plain(format!("cannot look for a pooler: {}", describe(&error))))?;
    Ok(rows.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count())
}
