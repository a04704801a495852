//! `[federation]`: whether and how this server federates.

use std::path::PathBuf;

use matriarch_rules::glob;
use matriarch_rules::identifiers::{host, is_server_name};
use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// Whether and how this server federates with others.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Federation {
    /// Whether to federate. If it is off, this server sends no requests to other servers and answers none.
    /// Default: off.
    pub enabled: bool,
    /// The only servers to federate with, as names or globs (`*.example.org`). Ports
    /// are ignored. Default: all.
    pub allow: Option<Vec<String>>,
    /// Servers not to federate with, even if `allow` names them. Default: none.
    pub deny: Vec<String>,
    /// A PEM file of certificate authorities to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// Whether other servers need a valid certificate. Turn it off in test networks only: anybody could
    /// impersonate any server.
    pub verify_certificates: bool,
    /// Whether other servers may be at private, loopback and other special addresses. For test networks only:
    /// others could make this server send requests into its own network. Default: no.
    pub allow_private_addresses: bool,
    /// Servers to ask for the signing keys of servers that do not answer, in this order. Default: none.
    pub notaries: Vec<String>,
    /// Whether to refuse invites to rooms of version 12 and later that come without the room's signed create
    /// event, or with state that is not signed (MSC4311). Many servers send such invites. Default: no.
    pub require_signed_invite_state: bool,
    /// The timeout of answers of other servers, and of the bodies of their requests, in seconds. Default: 60.
    pub request_timeout: u64,
}

impl Default for Federation {
    fn default() -> Self {
        Self {
            enabled: false,
            allow: None,
            deny: Vec::new(),
            ca_file: None,
            verify_certificates: true,
            allow_private_addresses: false,
            notaries: Vec::new(),
            require_signed_invite_state: false,
            request_timeout: 60,
        }
    }
}

impl Federation {
    /// Whether this server federates with `server_name`. Compares hosts, as the ACLs of rooms do: a server
    /// that is denied is denied at every port.
    pub fn admits(&self, server_name: &str) -> bool {
        let host_of = |name: &str| host(name).to_ascii_lowercase();
        let name = host_of(server_name);
        let named = |list: &Vec<String>| list.iter().any(|pattern| glob::matches(&host_of(pattern), &name));
        self.enabled && self.allow.as_ref().is_none_or(named) && !named(&self.deny)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if let Some(path) = &self.ca_file
            && let Err(error) = std::fs::File::open(path)
        {
            return Err(ConfigError::value("federation.ca_file", format!("{}: {error}", path.display())));
        }
        if let Some(name) = self.notaries.iter().find(|name| !is_server_name(name)) {
            return Err(ConfigError::value("federation.notaries", format!("{name:?} is no server name")));
        }
        if !(1..=3600).contains(&self.request_timeout) {
            return Err(ConfigError::value("federation.request_timeout", "must be from 1 to 3600 seconds"));
        }
        Ok(())
    }
}
