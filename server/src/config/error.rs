//! Why a configuration cannot be used.

use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named on the command line is not there.
    #[error("configuration file {0}: {1}")]
    File(PathBuf, std::io::Error),
    /// A value that is not of its key's form, or a key that does not exist.
    #[error("configuration: {0}")]
    Form(String),
    /// A value of the right form that makes no sense.
    #[error("configuration key `{key}`: {reason}")]
    Value { key: String, reason: String },
}

impl ConfigError {
    /// The value of `key` cannot be used for this reason.
    pub fn value(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Value { key: key.into(), reason: reason.into() }
    }
}
