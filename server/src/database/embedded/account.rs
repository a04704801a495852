//! The operating system's user that PostgreSQL runs as. It refuses to run as root.

#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tokio::process::Command;

use crate::base::failure::Failure;

/// The user that PostgreSQL runs as.
#[derive(Debug)]
pub struct Account {
    uid: u32,
    gid: u32,
    /// Whether this process is root and must switch to the user.
    drop: bool,
}

impl Account {
    /// This process's own user; if that is root, `postgres`, or `nobody` where there is no `postgres`.
    pub fn for_postgres() -> Result<Self, Failure> {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
        if !uid.is_root() {
            return Ok(Self { uid: uid.as_raw(), gid: gid.as_raw(), drop: false });
        }
        let users = fs::read_to_string("/etc/passwd").map_err(|error| Failure::new("/etc/passwd", error))?;
        let (uid, gid) = find(&users, "postgres").or_else(|| find(&users, "nobody")).ok_or_else(|| {
            Failure::plain("PostgreSQL does not run as root, and there is no user `postgres` or `nobody`")
        })?;
        Ok(Self { uid, gid, drop: true })
    }

    /// The numeric user id.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Makes `command` run as this account.
    pub fn apply(&self, command: &mut Command) {
        if self.drop {
            command.uid(self.uid).gid(self.gid);
        }
    }

    /// Makes the account the owner of `path`.
    pub fn own(&self, path: &Path) -> io::Result<()> {
        if self.drop { chown(path, Some(self.uid), Some(self.gid)) } else { Ok(()) }
    }

    /// Checks that the account may enter `path` and the folders above. The error names `key`.
    pub fn check_reach(&self, path: &Path, key: &str) -> Result<(), Failure> {
        if !self.drop {
            return Ok(());
        }
        let refuse = |path: &Path, error| {
            Failure::new(format!("configuration key `{key}`: {}", path.display()), error)
        };
        let path = path.canonicalize().map_err(|error| refuse(path, error))?;
        for folder in path.ancestors() {
            let metadata = fs::metadata(folder).map_err(|error| refuse(folder, error))?;
            if !self.may_enter(metadata.uid(), metadata.gid(), metadata.permissions().mode()) {
                return Err(Failure::plain(format!(
                    "configuration key `{key}`: {} is closed to the user that PostgreSQL runs as (uid {}); \
                     root cannot run PostgreSQL itself, so choose a folder outside of it",
                    folder.display(),
                    self.uid
                )));
            }
        }
        Ok(())
    }

    fn may_enter(&self, uid: u32, gid: u32, mode: u32) -> bool {
        let bit = if uid == self.uid {
            0o100
        } else if gid == self.gid {
            0o010
        } else {
            0o001
        };
        mode & bit != 0
    }
}

/// The user and group id of `name` in the text of `/etc/passwd`.
fn find(users: &str, name: &str) -> Option<(u32, u32)> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let mut numbers = fields.skip(1).map(|field| field.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    })
}
