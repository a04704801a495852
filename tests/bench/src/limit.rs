//! What the machine can do at most: bare inserts of a row like an event's, with as many indexes, as durable.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use crate::{Result, database::Database};

const CREATE: &str = "
    drop table if exists public.bench_limit;
    create table public.bench_limit (
        id bigint generated always as identity primary key,
        room bigint not null,
        pos bigint not null,
        event_id text collate \"C\" not null unique,
        device bigint not null,
        txn_id text collate \"C\" not null,
        json text not null
    );
    create index on public.bench_limit (room, pos);
    create index on public.bench_limit (device, txn_id);";
const INSERT: &str = "
    insert into public.bench_limit (room, pos, event_id, device, txn_id, json)
    values ($1, $2, $3, $1, $4, $5)";

/// Inserts per second, one row a transaction, on so many connections.
pub async fn inserts(database: &Database, connections: usize, duration: Duration) -> Result<f64> {
    database.connection.batch_execute(CREATE).await?;
    let json = "x".repeat(900);
    let started = Instant::now();
    let workers = (0..connections).map(|worker| {
        let json = &json;
        async move {
            let connection = database.another().await?;
            let statement = connection.prepare(INSERT).await?;
            let mut count = 0u64;
            while started.elapsed() < duration {
                let room = worker as i64;
                let (pos, event_id, txn) =
                    (count as i64, format!("${worker:020}{count:023}"), format!("m{count}"));
                connection.execute(&statement, &[&room, &pos, &event_id, &txn, json]).await?;
                count += 1;
            }
            Ok::<_, crate::Error>(count)
        }
    });
    let total: u64 = try_join_all(workers).await?.iter().sum();
    let rate = total as f64 / started.elapsed().as_secs_f64();
    database.connection.batch_execute("drop table public.bench_limit").await?;
    Ok(rate)
}
