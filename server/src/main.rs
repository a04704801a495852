//! `matriarch`: the stateless API node of the Matrix homeserver. It translates each HTTP request into one
//! statement for PostgreSQL.

mod accounts;
mod admin;
mod app;
mod base;
mod calls;
mod client;
mod commands;
mod config;
mod database;
mod federation;
mod http;
mod hub;

use std::process::ExitCode;

use clap::Parser;

use base::failure::Failure;
use commands::cli::{Cli, Command, ConfigCommand, KeysCommand};
use commands::{graph, listen, logs, serve, user};
use config::Config;
use database::targets::Database;
use database::{Db, migrate};

/// Gives memory back to the system a few seconds after a peak, which the system's allocator keeps.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("matriarch: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<(), Failure> {
    let config = Config::load(cli.config.as_deref()).map_err(|error| Failure::plain(error.to_string()))?;
    match &cli.command {
        Command::Config(command) => configuration(command, &config),
        Command::Serve => {
            logs::start(&config.log)?;
            if !config.ignored_variables.is_empty() {
                let names = config.ignored_variables.join(" ");
                tracing::warn!(
                    names,
                    "these environment variables set no configuration key, and are ignored"
                );
            }
            block_on(serve::run(config))
        }
        Command::Migrate => {
            logs::start(&config.log)?;
            block_on(migrate_command(&config))
        }
        Command::Keys(KeysCommand::Rotate) => {
            logs::start(&config.log)?;
            block_on(rotate_keys(&config))
        }
        Command::User(command) => {
            logs::start(&config.log)?;
            block_on(with_db(&config, async |db| user::run(command, &config, db).await))
        }
        Command::Graph(arguments) => {
            logs::start(&config.log)?;
            block_on(with_db(&config, async |db| graph::run(arguments, db).await))
        }
    }
}

fn configuration(command: &ConfigCommand, config: &Config) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => {
            listen::check_tls(&config.listeners)?;
            if let Some(url) = &config.database.url {
                Database::configured(config, url)?;
            }
            println!("The configuration is sound.");
        }
        ConfigCommand::Show => {
            let text = toml::to_string_pretty(config).map_err(|error| Failure::new("cannot print", error))?;
            print!("{text}");
        }
    }
    Ok(())
}

/// `matriarch migrate`: connects by `database.migrate_url`, or else by `database.url`.
async fn migrate_command(config: &Config) -> Result<(), Failure> {
    let database = Database::open(config, true).await?;
    let target = database.migrate.as_ref().unwrap_or(&database.api);
    let done = migrate::migrate(target, &config.server_name).await;
    database.close().await;
    done?;
    println!("The database is up to date.");
    Ok(())
}

/// `matriarch keys rotate`: connects as for migrations, since the role of API nodes may not change keys.
async fn rotate_keys(config: &Config) -> Result<(), Failure> {
    let database = Database::open(config, true).await?;
    let target = database.migrate.as_ref().unwrap_or(&database.api);
    let rotated = migrate::rotate_signing_key(target).await;
    database.close().await;
    println!("{} signs from now on.", rotated?);
    Ok(())
}

/// Runs `work` on the configured database, whose schema must be up to date.
async fn with_db(config: &Config, work: impl AsyncFnOnce(&Db) -> Result<(), Failure>) -> Result<(), Failure> {
    let database = Database::open(config, true).await?;
    let done = async {
        if database.embedded.is_some()
            && let Some(target) = &database.migrate
        {
            migrate::migrate(target, &config.server_name).await?;
        }
        migrate::check(&database.api, &config.server_name).await?;
        let db = Db::new(database.api.clone(), &config.database).map_err(Failure::plain)?;
        work(&db).await
    }
    .await;
    database.close().await;
    done
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start", error))?
        .block_on(work)
}
