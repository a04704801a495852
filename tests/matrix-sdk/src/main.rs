//! End-to-end encryption as matrix-sdk plays it: `matriarch-sdk-tests SCENARIO`, with the base URLs of two
//! nodes in NODE_URLS, separated by a comma. Prints a line for each thing that was shown to work.

#![recursion_limit = "256"]

mod device;
mod devices;
mod emoji;
mod fallback_keys;
mod recovery;
mod rooms;
mod verification;

use std::{env, process::ExitCode};

/// Anything that ends a scenario.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

/// The base URLs of two nodes of one server.
pub type Nodes = [String; 2];

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let nodes: Vec<_> = env::var("NODE_URLS")?.split(',').map(ToOwned::to_owned).collect();
    let nodes: Nodes = nodes.try_into().map_err(|_| "NODE_URLS names two nodes")?;
    match env::args().nth(1).as_deref() {
        Some("rooms") => rooms::run(&nodes).await,
        Some("verification") => verification::run(&nodes).await,
        Some("recovery") => recovery::run(&nodes).await,
        Some("devices") => devices::run(&nodes).await,
        Some("fallback_keys") => fallback_keys::run(&nodes).await,
        other => Err(format!("no such scenario: {other:?}").into()),
    }
}
