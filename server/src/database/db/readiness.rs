//! Whether the database can serve requests, and if not, why.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_postgres::Row;
use tracing::{info, warn};

use super::{Db, Failure};
use crate::database::EXTENSION_VERSION;

/// How long the check may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// What kind of server it is, and what it has.
pub const DATABASE: &str = include_str!("readiness.sql");
/// Whether rows have transaction ids that this cluster did not give out yet.
pub const IS_OF_ANOTHER_CLUSTER: &str = "
    select exists (
        select
        from (select xid from matriarch.events order by event_nid desc limit 100) e
        where e.xid >= pg_snapshot_xmax(pg_current_snapshot())
    )";
/// What to do then.
pub const OF_ANOTHER_CLUSTER: &str = "the rows were restored from a dump of another cluster, whose \
     transaction ids mean nothing here: stop the nodes, and run `call matriarch.reset_sync_xids()` as a \
     member of matriarch_admin. Clients would get everything as new at each sync";
/// Of all that requests need: the library, the function, and its owner's rights.
const SERVE: &str = "select status from matriarch.whoami('\\x00')";

/// Whether a database fits this program, apart from its tables.
#[derive(Debug, PartialEq)]
pub enum Fitness {
    /// It does.
    Fit,
    /// The extension is of this other version.
    OtherExtension(String),
    /// It does not, for this reason.
    Unfit(String),
}

impl Fitness {
    /// Reads a row of [`DATABASE`].
    pub fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        if row.try_get("standby")? {
            return Ok(Self::Unfit(
                "the database is a standby: a node needs the primary. `target_session_attrs=read-write` in \
                 the URL, with all hosts, finds it"
                    .to_owned(),
            ));
        }
        if row.try_get("read_only")? {
            return Ok(Self::Unfit(
                "the database is read-only: look for `default_transaction_read_only` of the role, the \
                 database and the server"
                    .to_owned(),
            ));
        }
        if let Some(table) = row.try_get::<_, Option<String>>("of_another_owner")? {
            return Ok(Self::Unfit(format!(
                "`{table}` does not belong to the role matriarch_owner: run `matriarch migrate` as a \
                 superuser"
            )));
        }
        Ok(match row.try_get::<_, Option<String>>("extension")? {
            Some(version) if version == EXTENSION_VERSION => Self::Fit,
            Some(version) => Self::OtherExtension(version),
            None => Self::Unfit(
                "the database has no extension `matriarch`: run `matriarch migrate` as a superuser"
                    .to_owned(),
            ),
        })
    }
}

/// What is known from earlier checks.
pub struct Readiness {
    /// How long another version of the extension will do.
    upgrade_time: Duration,
    earlier: Mutex<Earlier>,
}

#[derive(Default)]
struct Earlier {
    /// The other version of the extension, and when it was first seen.
    replaced: Option<(String, Instant)>,
    /// Why the last check failed.
    reason: Option<String>,
}

impl Readiness {
    pub fn new(upgrade_time: Duration) -> Self {
        Self { upgrade_time, earlier: Mutex::default() }
    }

    /// Checks the database, and logs the answer if it is another than before.
    pub async fn of(&self, db: &Db) -> Result<(), String> {
        let found = timeout(CHECK_TIMEOUT, self.check(db))
            .await
            .unwrap_or_else(|_| Err(Unready::because("the database does not answer")));
        let reason = found.as_ref().err().map(|unready| unready.reason.clone());
        let mut earlier = self.earlier.lock();
        if earlier.reason != reason {
            match &found {
                Err(Unready { reason, cause: Some(cause) }) => warn!(reason, cause, "not ready"),
                Err(Unready { reason, cause: None }) => warn!(reason, "not ready"),
                Ok(()) => info!("ready again"),
            }
            earlier.reason = reason;
        }
        found.map_err(|unready| unready.reason)
    }

    async fn check(&self, db: &Db) -> Result<(), Unready> {
        let rows = db.try_query(DATABASE, &[]).await?;
        let row = rows.first().ok_or(Unready::because("the database does not answer"))?;
        match Fitness::read(row).map_err(Failure::Statement)? {
            Fitness::Unfit(reason) => return Err(Unready::because(reason)),
            Fitness::Fit => self.earlier.lock().replaced = None,
            Fitness::OtherExtension(version) => self.allow(version)?,
        }
        let rows = db.try_query(IS_OF_ANOTHER_CLUSTER, &[]).await?;
        if rows.first().is_some_and(|row| row.try_get(0).unwrap_or_default()) {
            return Err(Unready::because(OF_ANOTHER_CLUSTER));
        }
        db.try_query(SERVE, &[]).await?;
        Ok(())
    }

    /// Allows the extension that an upgrade made, until this node should have been restarted.
    fn allow(&self, version: String) -> Result<(), Unready> {
        let mut earlier = self.earlier.lock();
        let since = match &earlier.replaced {
            Some((known, since)) if *known == version => *since,
            _ => {
                warn!(
                    version,
                    needed = EXTENSION_VERSION,
                    "the extension was replaced by another version: restart this node with its program"
                );
                let now = Instant::now();
                earlier.replaced = Some((version.clone(), now));
                now
            }
        };
        if since.elapsed() < self.upgrade_time {
            return Ok(());
        }
        Err(Unready::because(other_extension(&version)))
    }
}

/// What to do about the extension of another version, in a sentence.
pub fn other_extension(version: &str) -> String {
    format!(
        "the extension has version {version}, this program needs {EXTENSION_VERSION}: run the program of \
         that version, or `matriarch migrate` of this one"
    )
}

/// Why the database cannot serve.
struct Unready {
    /// A sentence for operators, which whoever reaches the health endpoint may read.
    reason: String,
    /// What the log tells besides.
    cause: Option<String>,
}

impl Unready {
    fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), cause: None }
    }
}

impl From<Failure> for Unready {
    fn from(failure: Failure) -> Self {
        let reason = match &failure {
            Failure::Statement(cause) => match cause.code() {
                Some(code) => {
                    format!("the database refuses the statements of a node (SQLSTATE {})", code.code())
                }
                None => "the connection to the database was lost".to_owned(),
            },
            Failure::Pool(_) | Failure::NoAnswer(_) => "the database cannot be reached".to_owned(),
        };
        Self { reason, cause: Some(failure.describe()) }
    }
}
