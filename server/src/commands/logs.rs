//! Log lines on standard error: text for people, JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::base::failure::Failure;
use crate::config::{Log, LogFormat};

/// Starts logging as configured.
pub fn start(config: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.level).map_err(|error| Failure::new("`log.level`", error))?;
    let builder = fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    let started = match config.format {
        LogFormat::Text => builder.finish().with(filter_fn(is_discreet)).try_init(),
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_span_list(false);
            builder.finish().with(filter_fn(is_discreet)).try_init()
        }
    };
    started.map_err(|error| Failure::plain(format!("cannot log: {error}")))
}

/// Whether lines of this kind contain no messages or password hashes. At `debug` the database client logs the
/// parameters of each statement, so those lines are dropped whatever the configured level.
fn is_discreet(line: &Metadata<'_>) -> bool {
    !line.target().starts_with("tokio_postgres") || *line.level() <= Level::INFO
}
