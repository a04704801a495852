//! The embedded PostgreSQL: created by `initdb` in the data folder, run as a child of the node, reachable
//! only by a Unix socket, and stopped with the node.
//!
//! A lock file prevents two nodes from using one data folder. A server that outlived an earlier node is
//! stopped first. On Linux the kernel stops the server if the node is killed.

mod account;
mod programs;

use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config as Target, NoTls};
use tracing::{debug, info, warn};

use super::db::describe;
use crate::base::failure::Failure;
use crate::config::Config;
use account::Account;
use programs::Programs;

const DATABASE: &str = "matriarch";
/// How long the start may take before the log says why: recovery after a crash may take long.
const START_TIMEOUT: Duration = Duration::from_secs(600);
const STOP_TIMEOUT: Duration = Duration::from_secs(60);
/// The path of a Unix socket must be shorter than 108 bytes, including the file's name.
const MAX_SOCKET_FOLDER: usize = 90;
/// If PostgreSQL's log is longer, it is put aside.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;
/// How often that is looked at.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A running embedded PostgreSQL.
pub struct Embedded {
    sockets: PathBuf,
    /// `None` if another process runs it.
    own: Option<Own>,
}

struct Own {
    server: Child,
    layout: Layout,
    /// Locks the data folder for this process.
    _lock: File,
}

/// The folders, the programs and the account.
struct Layout {
    programs: Programs,
    account: Account,
    /// ``PGDATA``
    data: PathBuf,
    log: PathBuf,
    sockets: PathBuf,
}

impl Embedded {
    /// Starts PostgreSQL, creates its data the first time, and waits until it answers. Call it from the main
    /// task: on Linux the server ends with the thread that started it.
    ///
    /// If another process already runs it, this uses that if `share` is set, and fails otherwise.
    pub async fn start(config: &Config, share: bool) -> Result<Self, Failure> {
        let layout = Layout::of(config)?;
        fs::create_dir_all(&config.data_dir).map_err(in_folder(&config.data_dir))?;
        let Some(lock) = take_lock(&config.data_dir)? else {
            if share {
                return Ok(Self { sockets: layout.sockets, own: None });
            }
            return Err(Failure::plain(format!(
                "configuration key `data_dir`: another node runs its database in {}; two nodes on one \
                 database need a `database.url`",
                config.data_dir.display()
            )));
        };
        layout.prepare(&config.data_dir)?;
        layout.stop_leftover().await?;
        layout.initialize().await?;
        let server = layout.spawn(config.database.pool_size)?;
        let mut embedded =
            Self { sockets: layout.sockets.clone(), own: Some(Own { server, layout, _lock: lock }) };
        embedded.wait_until_ready().await?;
        embedded.create_database().await?;
        Ok(embedded)
    }

    /// The connection settings for `role`.
    pub fn target(&self, role: &str) -> Target {
        let mut target = Target::new();
        target.host_path(&self.sockets).user(role).dbname(DATABASE).application_name("matriarch");
        target
    }

    /// Waits until the server ends unexpectedly.
    pub async fn ended(&mut self) -> Failure {
        match &mut self.own {
            None => std::future::pending().await,
            Some(own) => loop {
                match timeout(LOG_INTERVAL, own.server.wait()).await {
                    Ok(status) => return own.layout.failure("the embedded PostgreSQL ended", status),
                    Err(_) => own.layout.cut_log(),
                }
            },
        }
    }

    /// Stops the server with a fast shutdown.
    pub async fn stop(self) {
        let Some(mut own) = self.own else { return };
        debug!("stopping the embedded PostgreSQL");
        signal(&own.server, rustix::process::Signal::INT);
        if timeout(STOP_TIMEOUT, own.server.wait()).await.is_err() {
            warn!("the embedded PostgreSQL does not stop; it will recover at the next start");
            signal(&own.server, rustix::process::Signal::QUIT);
            // It has already ended.
            let _ = own.server.wait().await;
        }
    }

    async fn wait_until_ready(&mut self) -> Result<(), Failure> {
        let mut target = self.target("postgres");
        target.dbname("postgres");
        let Some(own) = &mut self.own else { return Ok(()) };
        let started = Instant::now();
        let mut told = false;
        loop {
            let status = own.server.try_wait();
            if !matches!(status, Ok(None)) {
                let status =
                    status.and_then(|status| status.ok_or_else(|| io::Error::other("it cannot be seen")));
                return Err(own.layout.failure("PostgreSQL did not start", status));
            }
            let error = match target.connect(NoTls).await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            };
            let starting = error.code().is_none_or(|code| *code == SqlState::CANNOT_CONNECT_NOW);
            if !starting || started.elapsed() > START_TIMEOUT {
                return Err(Failure::plain(format!(
                    "PostgreSQL refuses the connection: {} (see {})",
                    describe(&error),
                    own.layout.log.display()
                )));
            }
            if started.elapsed() > Duration::from_secs(5) && !std::mem::replace(&mut told, true) {
                info!(log = %own.layout.log.display(), "waiting for PostgreSQL, which recovers");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn create_database(&self) -> Result<(), Failure> {
        let mut target = self.target("postgres");
        target.dbname("postgres");
        let failed = |error: tokio_postgres::Error| {
            Failure::plain(format!("cannot create the database: {}", describe(&error)))
        };
        let (client, connection) = target.connect(NoTls).await.map_err(failed)?;
        let driver = tokio::spawn(connection);
        let exists = client
            .query_opt("select 1 from pg_database where datname = $1", &[&DATABASE])
            .await
            .map_err(failed)?
            .is_some();
        if !exists {
            client.batch_execute("create database matriarch").await.map_err(failed)?;
        }
        drop(client);
        // The connection ends when the client is dropped.
        let _ = driver.await;
        Ok(())
    }
}

impl Layout {
    fn of(config: &Config) -> Result<Self, Failure> {
        let account = Account::for_postgres()?;
        let data_dir = std::path::absolute(&config.data_dir).map_err(in_folder(&config.data_dir))?;
        let mut sockets = data_dir.join("run");
        if sockets.as_os_str().len() > MAX_SOCKET_FOLDER {
            let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
            let name: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            sockets = std::env::temp_dir().join(format!("matriarch-{name}"));
        }
        Ok(Self {
            programs: Programs::find(&config.embedded)?,
            account,
            data: data_dir.join("postgres"),
            log: data_dir.join("postgres.log"),
            sockets,
        })
    }

    /// Creates the folders, makes the account their owner, and checks that it can reach them.
    fn prepare(&self, data_dir: &Path) -> Result<(), Failure> {
        self.account.check_reach(data_dir, "data_dir")?;
        self.account.check_reach(self.programs.folder(), "embedded.bin_dir")?;
        if let Err(error) = fs::create_dir(&self.sockets)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(in_folder(&self.sockets)(error));
        }
        self.open_log()?;
        // Earlier versions made it readable for all. It may show what users sent.
        fs::set_permissions(&self.log, Permissions::from_mode(0o600)).map_err(in_folder(&self.log))?;
        self.cut_log();
        let folder = in_folder(&self.sockets);
        self.account.own(&self.log).map_err(in_folder(&self.log))?;
        self.account.own(&self.sockets).map_err(&folder)?;
        fs::set_permissions(&self.sockets, Permissions::from_mode(0o700)).map_err(&folder)?;
        // In a world-writable folder, another user may have created it first.
        let metadata = fs::symlink_metadata(&self.sockets).map_err(&folder)?;
        if !metadata.is_dir() || metadata.uid() != self.account.uid() {
            return Err(Failure::plain(format!("{} belongs to somebody else", self.sockets.display())));
        }
        Ok(())
    }

    /// Stops a server whose node was killed.
    async fn stop_leftover(&self) -> Result<(), Failure> {
        let running = self.run("pg_ctl", |command| command.arg("status")).await?;
        if !running.success() {
            return Ok(());
        }
        info!("stopping the PostgreSQL of a node that was killed");
        let stopped =
            self.run("pg_ctl", |command| command.args(["stop", "-m", "fast", "-w", "-t", "60"])).await?;
        if stopped.success() {
            return Ok(());
        }
        Err(self.failure("cannot stop the PostgreSQL of a node that was killed", Ok(stopped)))
    }

    /// Creates the data the first time, in another folder that is renamed at the end, so that it is complete
    /// or absent.
    async fn initialize(&self) -> Result<(), Failure> {
        if self.data.join("PG_VERSION").exists() {
            return Ok(());
        }
        info!(folder = %self.data.display(), "creating the embedded database");
        let aside = self.data.with_extension("new");
        if aside.exists() {
            fs::remove_dir_all(&aside).map_err(in_folder(&aside))?;
        }
        fs::create_dir(&aside).map_err(in_folder(&aside))?;
        self.account.own(&aside).map_err(in_folder(&aside))?;
        let mut command = self.command("initdb")?;
        // `trust`: only the owner and root can reach the socket's folder.
        command
            .arg("-D")
            .arg(&aside)
            .args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--auth-local=trust", "--auth-host=reject"])
            .arg("--no-instructions");
        let made = command.status().await.map_err(|error| Failure::new("cannot run initdb", error))?;
        if !made.success() {
            return Err(self.failure("initdb failed", Ok(made)));
        }
        fs::rename(&aside, &self.data).map_err(in_folder(&self.data))
    }

    fn spawn(&self, pool_size: usize) -> Result<Child, Failure> {
        let mut command = self.command("postgres")?;
        let settings = [
            "listen_addresses=".to_owned(),
            format!("unix_socket_directories={}", self.sockets.display()),
            "unix_socket_permissions=0700".to_owned(),
            // For the pool, the wake-up connection, migrations, and some psql sessions.
            format!("max_connections={}", pool_size + 20),
            "shared_buffers=128MB".to_owned(),
            "max_wal_size=512MB".to_owned(),
            "wal_compression=on".to_owned(),
            // Statements are short.
            "jit=off".to_owned(),
            "log_line_prefix=%m [%p] %u ".to_owned(),
            // What users send is no business of the log, also where an administrator logs statements.
            "log_parameter_max_length=0".to_owned(),
            "log_parameter_max_length_on_error=0".to_owned(),
        ];
        command.arg("-D").arg(&self.data);
        for setting in &settings {
            command.arg("-c").arg(setting);
        }
        programs::die_with_parent(&mut command);
        command.spawn().map_err(|error| Failure::new("cannot run postgres", error))
    }

    /// A program of PostgreSQL, as its account, writing to the log.
    fn command(&self, program: &str) -> Result<Command, Failure> {
        let log = self.open_log()?;
        let error_log = log.try_clone().map_err(in_folder(&self.log))?;
        let mut command = Command::new(self.programs.path(program));
        command.current_dir("/").stdin(Stdio::null()).stdout(log).stderr(error_log);
        self.account.apply(&mut command);
        Ok(command)
    }

    async fn run(
        &self,
        program: &str,
        arguments: impl FnOnce(&mut Command) -> &mut Command,
    ) -> Result<ExitStatus, Failure> {
        let mut command = self.command(program)?;
        arguments(&mut command).arg("-D").arg(&self.data).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().await.map_err(|error| Failure::new(format!("cannot run {program}"), error))
    }

    fn open_log(&self) -> Result<File, Failure> {
        let mut options = File::options();
        options.create(true).append(true).mode(0o600).open(&self.log).map_err(in_folder(&self.log))
    }

    /// Puts a long log aside and empties it: PostgreSQL, which has it open, goes on at its end.
    fn cut_log(&self) {
        if fs::metadata(&self.log).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
            let copied = fs::copy(&self.log, self.log.with_extension("log.old"));
            let cut = copied.and_then(|_| File::options().write(true).open(&self.log)?.set_len(0));
            if let Err(error) = cut {
                warn!(log = %self.log.display(), %error, "the log of PostgreSQL cannot be put aside");
            }
        }
    }

    fn failure(&self, what: &str, status: io::Result<ExitStatus>) -> Failure {
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        Failure::plain(format!("{what} ({status}); its log is {}", self.log.display()))
    }
}

/// Locks the data folder for this process. `None` if another process has locked it.
fn take_lock(data_dir: &Path) -> Result<Option<File>, Failure> {
    let path = data_dir.join("matriarch.lock");
    let file = File::options().create(true).append(true).open(&path).map_err(in_folder(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(in_folder(&path)(error)),
    }
}

fn signal(server: &Child, signal: rustix::process::Signal) {
    let pid = server.id().and_then(|pid| i32::try_from(pid).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may already have ended.
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn in_folder(path: &Path) -> impl Fn(io::Error) -> Failure {
    move |error| Failure::new(format!("configuration key `data_dir`: {}", path.display()), error)
}
