//! `[presence]`: whether users see each other's presence.

use serde::{Deserialize, Serialize};

/// Whether users see each other's presence.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Presence {
    /// Whether presence is kept, and shared with other servers. If it is off, all users appear offline. Must
    /// be the same for all nodes of a server. Default: on.
    pub enabled: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}
