//! Finds PostgreSQL's programs, and makes them end with this process.

use std::path::{Path, PathBuf};
use std::process::Command as StdCommand;

use tokio::process::Command;

use crate::base::failure::Failure;
use crate::config::Embedded;

/// Where distributions install several versions.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The folder of `postgres`, `initdb` and `pg_ctl`.
#[derive(Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// The configured folder, or the one that `pg_config` names, or the newest version of the distribution.
    pub fn find(config: &Embedded) -> Result<Self, Failure> {
        if let Some(folder) = &config.bin_dir {
            let folder = std::path::absolute(folder)
                .map_err(|error| Failure::new("configuration key `embedded.bin_dir`", error))?;
            return Ok(Self(folder));
        }
        [from_pg_config(), newest_version()]
            .into_iter()
            .flatten()
            .find(|folder| folder.join("postgres").is_file())
            .map(Self)
            .ok_or_else(|| {
                Failure::plain(
                    "configuration key `embedded.bin_dir`: no PostgreSQL server was found; install one, or \
                     set `database.url` to use another",
                )
            })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// One program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }
}

fn from_pg_config() -> Option<PathBuf> {
    let output = StdCommand::new("pg_config").arg("--bindir").output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    Some(PathBuf::from(folder.trim())).filter(|folder| folder.is_absolute())
}

fn newest_version() -> Option<PathBuf> {
    std::fs::read_dir(VERSIONS)
        .ok()?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let major: u32 = entry.file_name().to_str()?.parse().ok()?;
            Some((major, entry.path().join("bin")))
        })
        .max()
        .map(|(_, folder)| folder)
}

/// Makes the kernel send SIGINT (a fast shutdown) to the child when the thread that starts it ends.
#[cfg(target_os = "linux")]
pub fn die_with_parent(command: &mut Command) {
    use rustix::process::{Signal, set_parent_process_death_signal};
    // SAFETY: the closure runs between fork and exec, and makes one system call, without allocation or locks.
    unsafe {
        command.pre_exec(|| set_parent_process_death_signal(Some(Signal::INT)).map_err(Into::into));
    }
}

/// Other systems lack this; a server that outlives its node is stopped at the next start.
#[cfg(not(target_os = "linux"))]
pub fn die_with_parent(_command: &mut Command) {}
