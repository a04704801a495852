//! Log lines on standard error: text for people, JSON for machines.

use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};
use crate::failure::Failure;

/// Begins to log as configured.
pub fn start(config: &Log) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&config.level).map_err(|error| Failure::new("`log.level`", error))?;
    let builder = fmt().with_env_filter(filter).with_writer(stderr).with_ansi(stderr().is_terminal());
    let started = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| Failure::plain(format!("cannot log: {error}")))
}
