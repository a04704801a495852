//! Errors of the configuration.

use std::path::PathBuf;

/// Errors of the configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line does not exist.
    #[error("configuration file {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A malformed value, or a key that does not exist.
    #[error("configuration: {0}")]
    Form(String),
    /// A well-formed value that is not allowed.
    #[error("configuration key `{key}`: {reason}")]
    Value { key: String, reason: String },
}

impl ConfigError {
    /// The error that the value of `key` is not allowed for this reason.
    pub fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }
}
