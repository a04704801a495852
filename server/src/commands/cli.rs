//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::database::VERSIONS;

/// The API node of Matriarch, a Matrix homeserver in PostgreSQL.
#[derive(Debug, Parser)]
#[command(name = "matriarch", version = VERSIONS, about)]
pub struct Cli {
    /// The configuration, TOML. Every key can also be set by environment: `a.b` is `MATRIARCH_A__B`.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the Matrix API.
    Serve,
    /// Create or update the extension and the tables.
    Migrate,
    /// Look at the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Manage accounts.
    #[command(subcommand)]
    User(UserCommand),
    /// Manage the keys that sign events, and requests to other servers.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Draw the newest events of a room: branches, state changes, rejected and soft-failed events.
    Graph(GraphArguments),
}

/// What to draw, and where to.
#[derive(Debug, Args)]
pub struct GraphArguments {
    /// The room's id, or an alias of this server.
    pub room: String,
    /// Draw an SVG, to this file or else to standard output.
    #[arg(long, required = true, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub svg: PathBuf,
    /// How many events at most.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 100,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub limit: u32,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say whether the configuration can be used, and if not, which key is wrong and why.
    Check,
    /// Print the configuration with all defaults, and without secrets.
    Show,
}

/// What to do with the signing keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key, which signs from now on, and retire those in use. Needs `database.migrate_url` or the
    /// embedded database.
    Rotate,
}

/// What to do with an account.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Create an account. The password is read from standard input.
    Create {
        #[command(flatten)]
        name: UserName,
        /// Make it an administrator's.
        #[arg(long)]
        admin: bool,
    },
    /// Set an account's password, read from standard input, and log out its devices.
    Passwd(UserName),
    /// Deactivate an account for good: leave its rooms, log out its devices, and keep its name from being
    /// used again.
    Deactivate {
        #[command(flatten)]
        name: UserName,
        /// Delete its profile and account data as well.
        #[arg(long)]
        erase: bool,
    },
}

/// Whose account.
#[derive(Debug, Args)]
pub struct UserName {
    /// The part between `@` and `:`, or a whole user id of this server.
    pub user: String,
}
