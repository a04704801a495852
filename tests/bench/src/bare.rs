//! What the machine can do at most: one bare statement for each call, on rows of the same size and number.

use futures_util::future::try_join_all;
use tokio_postgres::{Client as Connection, Statement, types::ToSql};

use crate::{
    Bench, Result,
    load::{CALLERS, Load, measure},
};

/// Runs a statement by all callers at once, until it gives no row or the time is up. Its parameters are the
/// number of the call, and `values`; the CPU time is that of the connections' backends.
pub async fn statements(bench: &Bench, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Load> {
    let connections = try_join_all((0..CALLERS).map(|_| prepared(bench, sql))).await?;
    let processes: Vec<u32> = connections.iter().map(|(_, _, process)| *process).collect();
    measure(bench, &processes, async |caller, call| {
        let (connection, statement, _) = &connections[caller];
        let call = i64::try_from(call)?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            [&call as &(dyn ToSql + Sync)].into_iter().chain(values.iter().copied()).collect();
        Ok(!connection.query(statement, &parameters).await?.is_empty())
    })
    .await
}

/// A connection with a statement prepared, and the process that serves it.
async fn prepared(bench: &Bench, sql: &str) -> Result<(Connection, Statement, u32)> {
    let connection = bench.database.another().await?;
    let statement = connection.prepare(sql).await?;
    let process: i32 = connection.query_one("select pg_backend_pid()", &[]).await?.get(0);
    Ok((connection, statement, u32::try_from(process)?))
}
