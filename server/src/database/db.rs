//! The pool of connections, how statements run, and what their errors mean for a client.

mod classify;
mod readiness;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime, Timeouts,
};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Config, Row};
use tracing::{error, info, warn};

use super::connect::{Target, describe_tls};
use super::response::MatrixResponse;
use crate::base::error::ApiError;
use crate::base::metrics;
use crate::base::statements::count_statements;
use crate::config;

use classify::Remedy;
use readiness::Readiness;
pub use readiness::{DATABASE, Fitness, IS_OF_ANOTHER_CLUSTER, OF_ANOTHER_CLUSTER, other_extension};

/// How many times a statement runs at most, after serialization failures or deadlocks.
const ATTEMPTS: u32 = 5;

/// A pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool,
    statement_timeout: Duration,
    /// Wakes the statements that wait for a host which went silent.
    silent: Arc<Notify>,
    readiness: Arc<Readiness>,
}

/// Why a statement failed.
enum Failure {
    /// No connection was available.
    Pool(PoolError),
    /// The statement failed, or the connection while it ran.
    Statement(tokio_postgres::Error),
    /// There was no answer in time.
    NoAnswer(&'static str),
}

impl Db {
    /// Makes the pool. Connections are opened when they are first needed.
    pub fn new(target: Target, config: &config::Database) -> Result<Self, String> {
        // The client notices closed connections, so taking one from the pool needs no check.
        let manager_config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let longest_connect = target.longest_connect();
        let max_lifetime = Duration::from_secs(config.max_lifetime);
        // Backends keep plans and caches for as long as they live.
        let replace_old = Hook::sync_fn(move |_, metrics| {
            if metrics.created.elapsed() < max_lifetime { Ok(()) } else { Err(HookError::message("old")) }
        });
        // The target knows its hosts and their settings; the manager needs none.
        let pool = Pool::builder(Manager::from_connect(Config::new(), target, manager_config))
            .max_size(config.pool_size)
            .timeouts(Timeouts {
                wait: Some(Duration::from_secs(config.pool_timeout)),
                create: Some(longest_connect),
                recycle: None,
            })
            .pre_recycle(replace_old)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self {
            pool,
            statement_timeout: Duration::from_secs(config.statement_timeout),
            silent: Arc::default(),
            readiness: Arc::new(Readiness::new(Duration::from_secs(config.upgrade_time))),
        })
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
            failure.count();
            let cause = match failure {
                Failure::Statement(cause) => cause,
                other => {
                    warn!(cause = other.describe(), "no database connection");
                    return Err(ApiError::unavailable());
                }
            };
            match classify::remedy(&cause) {
                Remedy::Answer(refusal) => return Err(refusal),
                Remedy::Retry if attempt < ATTEMPTS => {
                    info!(sql, attempt, %cause, "retrying a statement");
                    let pause = 2_u64.pow(attempt) * 5 + rand::random::<u64>() % 10;
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Remedy::Reprepare | Remedy::TryAnew if attempt == 1 => {
                    info!(sql, cause = describe(&cause), "preparing a statement anew");
                }
                Remedy::Retry | Remedy::Reprepare | Remedy::Unavailable => {
                    warn!(sql, cause = describe(&cause), "the database is unavailable");
                    return Err(ApiError::unavailable());
                }
                Remedy::Misfit => {
                    error!(sql, cause = describe(&cause), "the database does not fit this program");
                    return Err(ApiError::unavailable());
                }
                Remedy::TryAnew | Remedy::Bug => {
                    error!(sql, cause = describe(&cause), "a statement failed");
                    return Err(ApiError::internal());
                }
            }
            attempt += 1;
        }
    }

    async fn try_query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        // Before a connection is taken: none may be taken just before its host is found silent, and kept.
        let mut silent = pin!(self.silent.notified());
        silent.as_mut().enable();
        let client = self.pool.get().await.map_err(Failure::Pool)?;
        let run = async {
            let statement = client.prepare_cached(sql).await?;
            count_statements(1);
            client.query(&statement, params).await
        };
        let result = tokio::select! {
            result = timeout(self.statement_timeout, run) => match result {
                Ok(result) => result.map_err(Failure::Statement),
                Err(_) => Err(Failure::NoAnswer("no answer within `database.statement_timeout`")),
            },
            () = silent => Err(Failure::NoAnswer("the database's host is silent")),
        };
        let lost = match &result {
            Err(Failure::Statement(cause)) => classify::needs_another_connection(cause),
            Err(_) => true,
            Ok(_) => false,
        };
        if lost {
            // The connection is closed, has stale plans, or still waits: drop it, so that the pool opens
            // another.
            drop(Object::take(client));
        }
        result
    }

    /// Gives up all connections: their host does not answer. Statements that wait are answered with 503, and
    /// the next ones open connections to whichever host answers.
    pub fn abandon_silent_host(&self) {
        self.pool.retain(|_, _| false);
        self.silent.notify_waiters();
    }

    /// Waits until [`Self::abandon_silent_host`], for what has a connection of its own.
    pub async fn host_falls_silent(&self) {
        self.silent.notified().await;
    }

    /// Whether requests can be served, for `/health/ready`; if not, why, in a sentence for operators.
    pub async fn ready(&self) -> Result<(), String> {
        self.readiness.of(self).await
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

impl Failure {
    fn describe(&self) -> String {
        match self {
            Self::Pool(PoolError::Backend(cause)) | Self::Statement(cause) => describe(cause),
            Self::Pool(other) => other.to_string(),
            Self::NoAnswer(why) => (*why).to_owned(),
        }
    }

    /// Counts the failure by its SQLSTATE, or by what kept it from having one.
    fn count(&self) {
        let state = match self {
            Self::Pool(PoolError::Backend(cause)) | Self::Statement(cause) => {
                cause.code().map_or("connection", |code| code.code())
            }
            Self::Pool(_) => "pool",
            Self::NoAnswer(_) => "silence",
        };
        metrics::database_error(state);
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
