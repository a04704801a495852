//! `matriarch`: the stateless API node of the Matrix homeserver. It parses HTTP, makes one call into PostgreSQL, and
//! writes HTTP.

mod admin;
mod batcher;
mod cli;
mod client;
mod config;
mod db;
mod error;
mod failure;
mod http;
mod hub;
mod listen;
mod logs;
mod metrics;
mod monitoring;
mod process;
mod serve;
mod state;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, ConfigCommand};
use config::Config;
use failure::Failure;

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
            block_on(serve::run(config))
        }
        Command::Migrate | Command::User(_) => Err(Failure::plain("not built yet")),
    }
}

fn configuration(command: &ConfigCommand, config: &Config) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check => println!("The configuration is sound."),
        ConfigCommand::Show => {
            let text = toml::to_string_pretty(config).map_err(|error| Failure::new("cannot print", error))?;
            print!("{text}");
        }
    }
    Ok(())
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start", error))?
        .block_on(work)
}
