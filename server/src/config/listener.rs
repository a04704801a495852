//! `[[listeners]]`: addresses, TLS, and which APIs each serves.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// One address that the node accepts connections on.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// An IP address: `127.0.0.1`, `::` …
    pub address: IpAddr,
    /// The TCP port. 0 takes any free one, and the log says which.
    pub port: u16,
    /// Certificate and key. Default: plain HTTP.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Whether all connections are from a proxy. The last address in `X-Forwarded-For` then counts as the
    /// client's. Default: false.
    #[serde(default)]
    pub trust_forwarded_for: bool,
    /// The APIs of this listener. Default: `client` and `health`.
    #[serde(default = "default_apis")]
    pub apis: Vec<Api>,
}

/// PEM files of a TLS listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, beginning with the server's certificate.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A group of endpoints that a listener may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// The Client-Server API and `/.well-known/matrix/client`.
    Client,
    /// The Server-Server API. Served only if `federation.enabled` is set.
    Federation,
    /// Registration by shared secret (`/_synapse/admin/v1/register`).
    Admin,
    /// `/health`, `/health/live`, `/health/ready`.
    Health,
    /// `/metrics`, for Prometheus. It shows how busy the server is, so it should not be public.
    Metrics,
}

fn default_apis() -> Vec<Api> {
    vec![Api::Client, Api::Health]
}

impl Listener {
    /// A listener for clients, without TLS.
    pub fn new(address: IpAddr, port: u16) -> Self {
        Self { address, port, tls: None, trust_forwarded_for: false, apis: default_apis() }
    }

    /// The address to bind.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Whether this listener serves `api`.
    pub fn serves(&self, api: Api) -> bool {
        self.apis.contains(&api)
    }

    pub(super) fn check(&self, index: usize) -> Result<(), ConfigError> {
        if self.apis.is_empty() {
            return Err(ConfigError::value(format!("listeners.{index}.apis"), "must name at least one API"));
        }
        let Some(tls) = &self.tls else { return Ok(()) };
        for (key, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            if let Err(error) = std::fs::File::open(path) {
                let reason = format!("{}: {error}", path.display());
                return Err(ConfigError::value(format!("listeners.{index}.tls.{key}"), reason));
            }
        }
        Ok(())
    }
}
