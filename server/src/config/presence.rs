//! `[presence]`: who is there.

use serde::{Deserialize, Serialize};

/// Whether users see who is there.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Presence {
    /// Whether presence is kept, and shared with other servers. Off, everybody is offline. All nodes of a server must agree.
    /// Default: on.
    pub enabled: bool,
}

impl Default for Presence {
    fn default() -> Self {
        Self { enabled: true }
    }
}
