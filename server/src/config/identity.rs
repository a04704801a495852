//! `[identity]`: identity servers.

use matriarch_rules::glob;
use serde::{Deserialize, Serialize};

/// Which identity servers may be asked about third-party ids.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// The identity servers that clients may name, as names or globs (`*`: any). Default: none.
    pub servers: Vec<String>,
}

impl Identity {
    /// Whether this identity server may be asked.
    pub fn admits(&self, server: &str) -> bool {
        let server = server.to_ascii_lowercase();
        self.servers.iter().any(|pattern| glob::matches(&pattern.to_ascii_lowercase(), &server))
    }
}
