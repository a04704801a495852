//! Puts load on running nodes and prints rates, latencies and sizes, each beside a limit measured in the same
//! run.
//!
//! `make bench` starts a cluster with full durability and a node, both built for release, and calls this.

mod bare;
mod client;
mod database;
mod fork;
mod keys;
mod latency;
mod limit;
mod load;
#[path = "../../../pg_extension/rules/tests/oracle/pdu.rs"]
#[allow(clippy::unwrap_used, reason = "for tests")]
mod pdu;
mod remote;
mod rooms;
mod send;
mod size;
mod sync;

use std::time::Duration;

use clap::Parser;

use crate::{client::Client, database::Database};

/// Anything that ends the run.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
pub type Result<T> = std::result::Result<T, Error>;

#[derive(Parser)]
#[command(about)]
struct Args {
    /// Base URL of a node.
    #[arg(long)]
    url: String,
    /// The nodes' database, as a superuser (libpq key=value form).
    #[arg(long)]
    database: String,
    /// Process id of the node, to read its memory.
    #[arg(long)]
    pid: u32,
    /// Seconds for each measured rate.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Run only scenarios whose name contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What every scenario gets.
pub struct Bench {
    pub client: Client,
    pub database: Database,
    pub duration: Duration,
    pub pid: u32,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    // The workspace builds one reqwest, which the server wants without a provider of its own.
    rustls::crypto::ring::default_provider().install_default().map_err(|_| "there is a provider already")?;
    let bench = Bench {
        client: Client::new(&args.url)?,
        database: Database::connect(&args.database).await?,
        duration: Duration::from_secs(args.seconds),
        pid: args.pid,
    };
    println!("{:<44} {:>12} {:>12}  beside", "scenario", "figure", "ratio");
    macro_rules! scenario {
        ($name:literal, $run:path) => {
            if $name.contains(&args.only) {
                $run(&bench).await.map_err(|error| format!("{}: {error}", $name))?;
            }
        };
    }
    scenario!("idle", size::idle_memory);
    scenario!("send", send::rates);
    scenario!("delivery", latency::delivery);
    scenario!("fan-out", latency::fan_out);
    scenario!("sync", sync::nothing_new);
    scenario!("initial-sync", sync::initial);
    scenario!("messages", rooms::messages);
    scenario!("join", rooms::join);
    scenario!("size", size::storage);
    scenario!("keys", keys::calls);
    scenario!("fork", fork::forks);
    Ok(())
}

/// Prints one line: a figure with its unit, and its ratio to a limit or aim.
pub fn report(scenario: &str, figure: f64, unit: &str, beside: Option<(f64, &str)>) {
    let figure_text = format!("{figure:.1} {unit}");
    match beside {
        Some((limit, what)) => {
            println!("{scenario:<44} {figure_text:>12} {:>12.2}  {what} ({limit:.1} {unit})", figure / limit);
        }
        None => println!("{scenario:<44} {figure_text:>12}"),
    }
}

/// The median of durations, in milliseconds.
pub fn median_ms(samples: &mut [Duration]) -> f64 {
    samples.sort_unstable();
    samples.get(samples.len() / 2).map_or(f64::NAN, |sample| sample.as_secs_f64() * 1000.0)
}
