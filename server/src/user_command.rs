//! `matriarch user …`: accounts, managed from the command line.

use crate::cli::UserCommand;
use crate::config::Config;
use crate::db::Db;
use crate::failure::Failure;

/// Runs one command against the database of the configured server.
pub async fn run(command: &UserCommand, _config: &Config, _db: &Db) -> Result<(), Failure> {
    Err(Failure::plain(format!("cannot run {command:?}")))
}
