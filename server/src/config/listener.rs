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
    /// Certificate and key. Absent: plain HTTP.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Whether a proxy is in front of it, whose word on clients' addresses, the last in `X-Forwarded-For`, is taken.
    /// Default: false.
    #[serde(default)]
    pub trust_forwarded_for: bool,
    /// What this listener serves. Default: `client` and `health`.
    #[serde(default = "default_apis")]
    pub apis: Vec<Api>,
}

/// PEM files of a TLS listener.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// A group of endpoints that a listener may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// The client-server API and `/.well-known/matrix/client`.
    Client,
    /// The server-server API, for other servers. Answers only where `federation.enabled` is set.
    Federation,
    /// Registration by shared secret (`/_synapse/admin/v1/register`).
    Admin,
    /// `/health`, `/health/live`, `/health/ready`.
    Health,
    /// `/metrics`, for Prometheus. It tells how busy the server is: keep it from strangers.
    Metrics,
}

impl Api {
    /// Every API.
    pub const ALL: &'static [Self] =
        &[Self::Client, Self::Federation, Self::Admin, Self::Health, Self::Metrics];
}

fn default_apis() -> Vec<Api> {
    vec![Api::Client, Api::Health]
}

impl Listener {
    /// A plain listener.
    pub fn new(address: IpAddr, port: u16, apis: Vec<Api>) -> Self {
        Self { address, port, tls: None, trust_forwarded_for: false, apis }
    }

    /// The address to bind.
    pub fn socket_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port)
    }

    /// Whether `api` is served here.
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
