//! The pool of connections, how statements run, and what their errors mean for a client.

mod classify;

use std::time::Duration;

use deadpool_postgres::{
    Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio::time::timeout;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tracing::{error, info, warn};

use super::connect::{Target, describe_tls};
use super::response::MatrixResponse;
use crate::base::error::ApiError;
use crate::base::statements::count_statements;
use crate::config;

use classify::Remedy;

/// How many times a statement runs at most, after serialization failures or deadlocks.
const ATTEMPTS: u32 = 5;
/// The timeout of [`Db::is_alive`].
const ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
}

/// Why a statement failed.
enum Failure {
    /// No connection was available.
    Pool(PoolError),
    /// The statement failed, or the connection while it ran.
    Statement(tokio_postgres::Error),
}

impl Db {
    /// Makes the pool. Connections are opened when they are first needed.
    pub fn new(target: Target, config: &config::Database) -> Result<Self, String> {
        // The client notices closed connections, so taking one from the pool needs no check.
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let pool = Pool::builder(Manager::from_config(target.config, target.tls, manager_config))
            .max_size(config.pool_size)
            .timeouts(Timeouts {
                wait: Some(Duration::from_secs(config.pool_timeout)),
                create: Some(Duration::from_secs(config.connect_timeout)),
                recycle: None,
            })
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { pool })
    }

    /// Runs a statement of [`call!`](super::call). Handlers use `App::call`, which also wakes waiting syncs
    /// and handles outcomes.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        match self.query(sql, params).await?.first() {
            Some(row) => MatrixResponse::from_row(row),
            None => {
                error!(sql, "a function that serves a request gave no row");
                Err(ApiError::internal())
            }
        }
    }

    /// Runs a statement that returns at most one row.
    pub async fn query_opt(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Option<Row>, ApiError> {
        Ok(self.query(sql, params).await?.into_iter().next())
    }

    /// Runs one statement, which its connection prepares once and keeps, and returns its rows.
    ///
    /// Retries serialization failures, deadlocks and stale plans. Fails with 503 if the database is not
    /// reachable, with the Matrix error that a function raised, and with 500 for any other error, which is a
    /// bug and logged here.
    pub async fn query(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, ApiError> {
        let mut attempt = 1;
        loop {
            let failure = match self.try_query(sql, params).await {
                Ok(rows) => return Ok(rows),
                Err(failure) => failure,
            };
            let cause = match failure {
                Failure::Pool(cause) => {
                    let cause = match &cause {
                        PoolError::Backend(cause) => describe(cause),
                        other => other.to_string(),
                    };
                    warn!(cause, "no database connection");
                    return Err(ApiError::unavailable());
                }
                Failure::Statement(cause) => cause,
            };
            match classify::remedy(&cause) {
                Remedy::Answer(refusal) => return Err(refusal),
                Remedy::Retry if attempt < ATTEMPTS => {
                    info!(sql, attempt, %cause, "retrying a statement");
                    let pause = 2_u64.pow(attempt) * 5 + rand::random::<u64>() % 10;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Remedy::Reprepare if attempt == 1 => {
                    info!(sql, %cause, "preparing a statement anew");
                }
                Remedy::Retry | Remedy::Unavailable => {
                    warn!(sql, cause = describe(&cause), "the database is unavailable");
                    return Err(ApiError::unavailable());
                }
                Remedy::Reprepare | Remedy::Bug => {
                    error!(sql, cause = describe(&cause), "a statement failed");
                    return Err(ApiError::internal());
                }
            }
            attempt += 1;
        }
    }

    async fn try_query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let client = self.pool.get().await.map_err(Failure::Pool)?;
        let run = async {
            let statement = client.prepare_cached(sql).await?;
            count_statements(1);
            client.query(&statement, params).await
        };
        let result = run.await;
        if let Err(cause) = &result
            && matches!(classify::remedy(cause), Remedy::Reprepare | Remedy::Unavailable)
        {
            // The connection is closed or has stale plans: drop it, so that the pool opens another.
            drop(Object::take(client));
        }
        result.map_err(Failure::Statement)
    }

    /// Whether the database answers, for `/health/ready`.
    pub async fn is_alive(&self) -> bool {
        matches!(timeout(ALIVE_TIMEOUT, self.try_query("select 1", &[])).await, Ok(Ok(_)))
    }

    /// Closes the pool: connections end when they are returned.
    pub fn close(&self) {
        self.pool.close();
    }

    /// The pool's figures: connections open, connections in use, requests that wait for one.
    pub fn pool_status(&self) -> (usize, usize, usize) {
        let status = self.pool.status();
        (status.size, status.size.saturating_sub(status.available), status.waiting)
    }
}

/// The error with the database's message and context, for the log.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let context = db.where_().map(|context| format!(" ({context})")).unwrap_or_default();
            format!("{}: {}{context}", db.code().code(), db.message())
        }
        None => describe_tls(error).unwrap_or_else(|| match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }),
    }
}
