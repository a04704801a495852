//! Creates and updates the schema: the extension, the tables, and the schema `matrix`.
//!
//! - The extension contains functions and types. Its script creates the roles and the schema `matriarch`, so
//!   it is first, as a superuser.
//! - Tables and triggers come from the numbered files in `sql/`. A file that has landed never changes.
//! - The schema `matrix` comes from the files in `sql/matrix/`. They run again if one of them has changed.
//!
//! The files run as `matriarch_owner`.

mod indexes;
mod locks;
mod restored;

use std::error::Error as _;
use std::time::Duration;

use refinery::Runner;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage};
use tracing::{info, warn};

use super::connect::{Target, describe_tls};
use super::db::{DATABASE, Fitness, IS_OF_ANOTHER_CLUSTER, OF_ANOTHER_CLUSTER, describe, other_extension};
use crate::base::failure::Failure;

mod embedded_sql {
    #![allow(clippy::unwrap_used, unused_qualifications, reason = "the macro writes this code")]
    refinery::embed_migrations!("../sql");
}

/// The files of the schema `matrix`, in the order in which they run.
const MATRIX_FILES: [&str; 7] = [
    include_str!("../../../sql/matrix/schema.sql"),
    include_str!("../../../sql/matrix/rooms.sql"),
    include_str!("../../../sql/matrix/people.sql"),
    include_str!("../../../sql/matrix/federation.sql"),
    include_str!("../../../sql/matrix/graph.sql"),
    include_str!("../../../sql/matrix/explain.sql"),
    include_str!("../../../sql/matrix/grants.sql"),
];

/// Lists which migrations were applied, and when.
const HISTORY: &str = "matriarch.schema_history";
/// How often a node looks whether another one has migrated.
const LOCK_INTERVAL: Duration = Duration::from_millis(200);
/// How long a starting node waits for a database that is not reachable yet.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(30);

/// The advisory lock that the migrating node holds until it is done; other nodes wait. Not by the function
/// that waits: its snapshot would keep `create index concurrently` waiting.
const TRY_LOCK: &str = "select pg_try_advisory_xact_lock(7881708857618166371)";
const ENCODING: &str = "select current_setting('server_encoding')";
const EXTENSION: &str =
    "select installed_version, default_version from pg_available_extensions where name = 'matriarch'";
/// The extension contains only functions and their types, and nothing depends on them. So it is replaced as a
/// whole: no row changes, and no update scripts between versions are needed.
const REPLACE_EXTENSION: &str = "begin; drop extension matriarch; create extension matriarch; commit";
const BECOME_OWNER: &str =
    "set role matriarch_owner; set search_path to matriarch, pg_temp; set client_min_messages to warning";
const HAS_SERVER: &str = "select to_regclass('matriarch.server') is not null";
const SERVER_NAME: &str = "select server_name from matriarch.server";
const HAS_HISTORY: &str = "select to_regclass('matriarch.schema_history') is not null";
const APPLIED: &str = "select version, name, checksum from matriarch.schema_history order by version";
/// The migration library creates this table.
const DESCRIBE_HISTORY: &str = "
    grant select on matriarch.schema_history to matriarch_api, matriarch_admin;
    comment on table matriarch.schema_history is 'Migrations that were applied.';
    comment on column matriarch.schema_history.version is 'Number of the migration: of the file in sql/.';
    comment on column matriarch.schema_history.name is 'Name of the migration: of the file in sql/.';
    comment on column matriarch.schema_history.applied_on is 'When it was applied (RFC 3339).';
    comment on column matriarch.schema_history.checksum is
        'Checksum of the file: a file that has landed never changes.'";
/// Returns no row if the schema does not exist.
const MATRIX_VERSION: &str =
    "select matrix_version from matriarch.server where to_regnamespace('matrix') is not null";
const NOTE_MATRIX_VERSION: &str = "update matriarch.server set matrix_version = $1";
const INITIALIZE: &str = "select matriarch.initialize($1)";
const ROTATE: &str = "select matriarch.rotate_signing_key()";

/// Creates or updates the extension and the tables, and records `server_name` on the first run.
///
/// `target` connects as a superuser, or as a member of `matriarch_owner` if the extension is up to date. If
/// several nodes call this at the same time, one migrates and the others wait.
pub async fn migrate(target: &Target, server_name: &str) -> Result<(), Failure> {
    let mut holder = Connection::open(target).await?;
    let lock = holder.client.transaction().await.map_err(failed("cannot begin to migrate"))?;
    loop {
        // The simple protocol leaves no portal behind, which would hold a snapshot.
        let answer = lock.simple_query(TRY_LOCK).await.map_err(failed("cannot wait for other migrations"))?;
        let is_taken = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
            _ => false,
        };
        if answer.iter().any(is_taken) {
            break;
        }
        sleep(LOCK_INTERVAL).await;
    }

    let mut connection = Connection::open(target).await?;
    let client = &mut connection.client;
    // Checked before anything is changed.
    check_encoding(client).await?;
    let has_history = client.query_one(HAS_HISTORY, &[]).await.and_then(|row| row.try_get(0));
    let newest = match has_history.map_err(failed("cannot look for the schema's history"))? {
        true => compare_history(client).await?,
        false => 0,
    };
    let has_server = client.query_one(HAS_SERVER, &[]).await.and_then(|row| row.try_get(0));
    let has_server: bool = has_server.map_err(failed("cannot look at the tables"))?;
    if has_server && newest == 0 {
        return Err(Failure::plain(
            "the database has tables of Matriarch, but not the list of migrations that made them: it was \
             restored from a dump without rows (`--schema-only`). Restore a whole dump, or use an empty \
             database, in which `matriarch migrate` makes the tables",
        ));
    }
    set_up_extension(client).await?;
    if has_server {
        restored::mend(client).await?;
    }
    client.batch_execute(BECOME_OWNER).await.map_err(failed("cannot become matriarch_owner"))?;
    client.batch_execute(locks::LIMIT).await.map_err(failed("cannot limit the wait for locks"))?;
    if has_server {
        check_server_name(client, server_name).await?;
    }
    let report = locks::retry(client, async |client| runner().run_async(client).await)
        .await
        .map_err(|error| locks::explain("cannot migrate", error))?;
    for migration in report.applied_migrations() {
        info!(version = migration.version(), name = migration.name(), "migrated");
    }
    client.batch_execute(DESCRIBE_HISTORY).await.map_err(failed("cannot grant the history"))?;
    indexes::create(client).await?;
    client.query(INITIALIZE, &[&server_name]).await.map_err(failed("cannot record the server name"))?;
    check_server_name(client, server_name).await?;
    let version = matrix_version()?;
    locks::retry(client, async |client| make_matrix_schema(client, &version).await)
        .await
        .map_err(|error| locks::explain("cannot make the schema `matrix`", error))?;
    restored::check_grants(client).await?;
    lock.commit().await.map_err(failed("cannot end the migration"))
}

/// Texts of other encodings cannot hold every character, or are not checked.
async fn check_encoding(client: &Client) -> Result<(), Failure> {
    let encoding = client.query_one(ENCODING, &[]).await.and_then(|row| row.try_get(0));
    let encoding: String = encoding.map_err(failed("cannot read the encoding"))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(Failure::plain(format!(
        "the database has the encoding {encoding}, and Matriarch needs UTF8: create database … encoding \
         'UTF8' template template0"
    )))
}

/// Creates a new signing key, and retires those in use. Returns the new one's id. `target` is as for
/// [`migrate`].
pub async fn rotate_signing_key(target: &Target) -> Result<String, Failure> {
    let connection = Connection::open(target).await?;
    let client = &connection.client;
    client.batch_execute(BECOME_OWNER).await.map_err(failed("cannot become matriarch_owner"))?;
    let rotated = client.query_one(ROTATE, &[]).await.and_then(|row| row.try_get(0));
    rotated.map_err(failed("cannot rotate the signing key"))
}

/// Checks that the database belongs to this server, and has the tables and the extension of this version.
pub async fn check(target: &Target, server_name: &str) -> Result<(), Failure> {
    let connection = Connection::open(target).await?;
    let newest = compare_history(&connection.client).await?;
    let known = newest_known();
    if newest < known {
        return Err(Failure::plain(format!(
            "the database is at version {newest}, this program needs {known}: run `matriarch migrate`"
        )));
    }
    check_server_name(&connection.client, server_name).await?;
    let fitness = connection.client.query_one(DATABASE, &[]).await.and_then(|row| Fitness::read(&row));
    match fitness.map_err(failed("cannot look at the database"))? {
        Fitness::Fit => {}
        Fitness::OtherExtension(version) => return Err(Failure::plain(other_extension(&version))),
        Fitness::Unfit(reason) => return Err(Failure::plain(reason)),
    }
    let foreign =
        connection.client.query_one(IS_OF_ANOTHER_CLUSTER, &[]).await.and_then(|row| row.try_get(0));
    if foreign.map_err(failed("cannot look at the newest events"))? {
        return Err(Failure::plain(OF_ANOTHER_CLUSTER));
    }
    Ok(())
}

/// Checks that the applied migrations are those that this program contains. Returns the newest applied
/// version; 0 if there is none.
async fn compare_history(client: &Client) -> Result<i32, Failure> {
    let rows = client.query(APPLIED, &[]).await.map_err(|error| match error.code() {
        Some(
            &SqlState::UNDEFINED_TABLE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::INSUFFICIENT_PRIVILEGE,
        ) => Failure::plain(
            "the database has no tables of Matriarch yet: run `matriarch migrate` with a `database.url` (or \
                 `database.migrate_url`) of a superuser",
        ),
        _ => failed("cannot read the schema's history")(error),
    })?;
    let runner = runner();
    let mut newest = 0;
    for row in rows {
        let version: i32 = row.try_get("version").map_err(failed("cannot read the schema's history"))?;
        let name: String = row.try_get("name").map_err(failed("cannot read the schema's history"))?;
        let checksum: String = row.try_get("checksum").map_err(failed("cannot read the schema's history"))?;
        let known = runner.get_migrations().iter().find(|known| known.version() == version);
        if known.is_some_and(|known| known.name() != name || known.checksum().to_string() != checksum) {
            return Err(Failure::plain(format!(
                "the tables of the database were made by other migrations than this program has (version \
                 {version}, `{name}`): the database is probably older than the first release. It cannot be \
                 upgraded, and was not changed. Use a new database"
            )));
        }
        newest = newest.max(version);
    }
    let known = newest_known();
    if newest > known {
        return Err(Failure::plain(format!(
            "the database is at version {newest}, this program knows {known}: run a newer program"
        )));
    }
    Ok(newest)
}

/// The newest migration that this program contains.
fn newest_known() -> i32 {
    runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or_default()
}

/// The version of the schema `matrix`: that of the tables, and a checksum of its files.
fn matrix_version() -> Result<String, Failure> {
    let checksum = refinery::Migration::unapplied("V1__matrix", &MATRIX_FILES.join("\n"))
        .map_err(|error| Failure::new("cannot compute a checksum", error))?
        .checksum();
    Ok(format!("{}-{checksum:016x}", newest_known()))
}

/// Creates the views and functions of the schema `matrix`, unless they are up to date.
///
/// Also creates them again after a migration, which may have dropped a view.
async fn make_matrix_schema(client: &mut Client, version: &str) -> Result<(), tokio_postgres::Error> {
    let made = client.query_opt(MATRIX_VERSION, &[]).await?;
    let made: Option<String> = made.map_or(Ok(None), |row| row.try_get(0))?;
    if made.as_deref() == Some(version) {
        return Ok(());
    }
    let making = client.transaction().await?;
    making.batch_execute(&MATRIX_FILES.join("\n")).await?;
    making.execute(NOTE_MATRIX_VERSION, &[&version]).await?;
    making.commit().await?;
    info!(version, "made the schema `matrix`");
    Ok(())
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
            "this PostgreSQL does not have the extension `matriarch`: install matriarch-VERSION.so, \
             matriarch.control and matriarch--VERSION.sql where `pg_config --pkglibdir` \
             and `pg_config --sharedir` say",
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
        "configuration key `server_name`: is {server_name}, but the database belongs to {owner}; a server's \
         name cannot change"
    )))
}

/// A connection of its own, closed when dropped.
pub struct Connection {
    pub client: Client,
    driver: JoinHandle<()>,
}

impl Connection {
    /// Connects. Waits for a database that is starting.
    pub async fn open(target: &Target) -> Result<Self, Failure> {
        let deadline = Instant::now() + DATABASE_TIMEOUT;
        let mut told = false;
        loop {
            match target.connect().await {
                Ok((client, connection)) => {
                    let driver = tokio::spawn(async move {
                        // The client returns its errors.
                        let _ = connection.await;
                    });
                    return Ok(Self { client, driver });
                }
                Err(error) if Instant::now() > deadline || !may_pass(&error) => {
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

/// Whether a connection that failed so may succeed a moment later: there was none yet, or the database is
/// starting.
fn may_pass(error: &tokio_postgres::Error) -> bool {
    match error.code() {
        Some(code) => *code == SqlState::CANNOT_CONNECT_NOW,
        None => {
            let is_io = error.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
            error.is_closed() || (is_io && describe_tls(error).is_none())
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Turns a database error into the failure of `what`.
fn failed(what: &'static str) -> impl Fn(tokio_postgres::Error) -> Failure {
    move |error| Failure::plain(format!("{what}: {}", describe(&error)))
}
