//! The life of the database's schema: the extension, the tables, and whose they are.
//!
//! The extension holds functions and types, tables come from the numbered files in `sql/`. The extension's script makes
//! the roles and the schema `matriarch`, so it goes first, as a superuser; the files run as `matriarch_owner`.

use std::time::Duration;

use refinery::Runner;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};
use tracing::{info, warn};

use crate::db::describe;
use crate::failure::Failure;

mod embedded_sql {
    #![allow(clippy::unwrap_used, unused_qualifications, reason = "the macro writes this code")]
    refinery::embed_migrations!("../sql");
}

/// Which migrations were applied, when.
const HISTORY: &str = "matriarch.schema_history";
/// Held by the node that migrates, in a transaction that lasts as long; others wait.
const MIGRATION_LOCK: i64 = 0x6d61_7472_6961_7263;
/// How long a starting node waits for a database that is not there yet.
const DATABASE_PATIENCE: Duration = Duration::from_secs(30);

const TAKE_LOCK: &str = "select pg_advisory_xact_lock($1)";
const EXTENSION: &str =
    "select installed_version, default_version from pg_available_extensions where name = 'matriarch'";
/// The extension holds functions and their types only, and nothing depends on them: replacing it touches no row, and
/// needs no update script from each version to each other.
const REPLACE_EXTENSION: &str = "begin; drop extension matriarch; create extension matriarch; commit";
const BECOME_OWNER: &str =
    "set role matriarch_owner; set search_path to matriarch, pg_temp; set client_min_messages to warning";
const HAS_SERVER: &str = "select to_regclass('matriarch.server') is not null";
const SERVER_NAME: &str = "select server_name from matriarch.server";
const SHOW_HISTORY: &str = "grant select on matriarch.schema_history to matriarch_api";
const INITIALIZE: &str = "select matriarch.initialize($1)";
const ROTATE: &str = "select matriarch.rotate_signing_key()";
const SCHEMA_VERSION: &str = "select max(version) from matriarch.schema_history";

/// Creates or updates the extension and the tables, and records `server_name` on the first run.
///
/// `target` is a superuser; a member of `matriarch_owner` will do while the extension is up to date. Several nodes may
/// migrate at once: one does it.
pub async fn migrate(target: &tokio_postgres::Config, server_name: &str) -> Result<(), Failure> {
    let mut holder = Connection::open(target).await?;
    let lock = holder.client.transaction().await.map_err(failed("cannot begin to migrate"))?;
    lock.query_one(TAKE_LOCK, &[&MIGRATION_LOCK])
        .await
        .map_err(failed("cannot wait for other migrations"))?;

    let mut connection = Connection::open(target).await?;
    let client = &mut connection.client;
    set_up_extension(client).await?;
    client.batch_execute(BECOME_OWNER).await.map_err(failed("cannot become matriarch_owner"))?;
    let has_server = client.query_one(HAS_SERVER, &[]).await.and_then(|row| row.try_get(0));
    if has_server.map_err(failed("cannot look at the tables"))? {
        check_server_name(client, server_name).await?;
    }
    let report = runner().run_async(client).await.map_err(|error| Failure::new("cannot migrate", error))?;
    for migration in report.applied_migrations() {
        info!(version = migration.version(), name = migration.name(), "migrated");
    }
    client.batch_execute(SHOW_HISTORY).await.map_err(failed("cannot grant the history"))?;
    client.query(INITIALIZE, &[&server_name]).await.map_err(failed("cannot record the server name"))?;
    check_server_name(client, server_name).await?;
    lock.commit().await.map_err(failed("cannot end the migration"))
}

/// Makes a new signing key, and retires those in use. The new one's id. `target` as for [`migrate`].
pub async fn rotate_signing_key(target: &tokio_postgres::Config) -> Result<String, Failure> {
    let connection = Connection::open(target).await?;
    let client = &connection.client;
    client.batch_execute(BECOME_OWNER).await.map_err(failed("cannot become matriarch_owner"))?;
    let rotated = client.query_one(ROTATE, &[]).await.and_then(|row| row.try_get(0));
    rotated.map_err(failed("cannot rotate the signing key"))
}

/// Checks that the database is this server's and fits this version.
pub async fn check(target: &tokio_postgres::Config, server_name: &str) -> Result<(), Failure> {
    let connection = Connection::open(target).await?;
    let newest = connection.client.query_one(SCHEMA_VERSION, &[]).await.and_then(|row| row.try_get(0));
    let newest: Option<i32> = newest.map_err(|error| match error.code() {
        Some(
            &SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::INSUFFICIENT_PRIVILEGE,
        ) => Failure::plain(
            "the database has no tables of Matriarch yet: run `matriarch migrate` with a `database.url` (or \
                 `database.migrate_url`) of a superuser",
        ),
        _ => failed("cannot look at the schema's version")(error),
    })?;
    let known = runner().get_migrations().iter().map(refinery::Migration::version).max();
    match (newest, known) {
        (Some(newest), Some(known)) if newest > known => Err(Failure::plain(format!(
            "the database is at version {newest}, this program knows {known}: run a newer program"
        ))),
        (newest, known) if newest < known => Err(Failure::plain(format!(
            "the database is at version {}, this program needs {}: run `matriarch migrate`",
            newest.unwrap_or_default(),
            known.unwrap_or_default()
        ))),
        _ => check_server_name(&connection.client, server_name).await,
    }
}

fn runner() -> Runner {
    let mut runner = embedded_sql::migrations::runner();
    runner.set_migration_table_name(HISTORY);
    runner
}

async fn set_up_extension(client: &Client) -> Result<(), Failure> {
    let row = client.query_opt(EXTENSION, &[]).await.map_err(failed("cannot look for the extension"))?;
    let Some(row) = row else {
        return Err(Failure::plain(
            "this PostgreSQL does not have the extension `matriarch`: install matriarch.so, matriarch.control and \
             matriarch--*.sql where `pg_config --pkglibdir` and `pg_config --sharedir` say",
        ));
    };
    let read = |column: usize| row.try_get::<_, Option<String>>(column);
    let (installed, available) = (
        read(0).map_err(failed("cannot read the version"))?,
        read(1).map_err(failed("cannot read the version"))?,
    );
    match installed {
        None => client
            .batch_execute("create extension matriarch")
            .await
            .map_err(failed("cannot create the extension `matriarch` (a superuser can)")),
        Some(_) if installed == available => Ok(()),
        Some(_) => client
            .batch_execute(REPLACE_EXTENSION)
            .await
            .map_err(failed("cannot update the extension `matriarch` (a superuser can)")),
    }
}

async fn check_server_name(client: &Client, server_name: &str) -> Result<(), Failure> {
    let row = client.query_opt(SERVER_NAME, &[]).await.map_err(failed("cannot read the server name"))?;
    let Some(row) = row else { return Ok(()) };
    let owner: String = row.try_get(0).map_err(failed("cannot read the server name"))?;
    if owner == server_name {
        return Ok(());
    }
    Err(Failure::plain(format!(
        "configuration key `server_name`: is {server_name}, but the database belongs to {owner}; a server's name \
         cannot change"
    )))
}

/// A connection of its own, closed when dropped.
struct Connection {
    client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects; waits a while for a database that is starting.
    async fn open(target: &tokio_postgres::Config) -> Result<Self, Failure> {
        let deadline = Instant::now() + DATABASE_PATIENCE;
        let mut told = false;
        loop {
            match target.connect(NoTls).await {
                Ok((client, connection)) => {
                    let driver = tokio::spawn(async move {
                        // Its errors come to whoever uses the client.
                        let _ = connection.await;
                    });
                    return Ok(Self { client, driver });
                }
                // A database that answers with an error other than "starting up" will not change its mind.
                Err(error)
                    if Instant::now() > deadline
                        || error.code().is_some_and(|code| *code != SqlState::CANNOT_CONNECT_NOW) =>
                {
                    return Err(failed("cannot connect to the database")(error));
                }
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        warn!(cause = describe(&error), "waiting for the database");
                    }
                    sleep(Duration::from_millis(200)).await;
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Turns a database error into a failure to do `what`.
fn failed(what: &'static str) -> impl Fn(tokio_postgres::Error) -> Failure {
    move |error| Failure::plain(format!("{what}: {}", describe(&error)))
}
