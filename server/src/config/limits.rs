//! `[limits]`: what connections and requests may take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;

/// Limits of connections and requests. Sizes are in bytes, durations in seconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The most connections of all listeners. Default: 8192, or as many as there are file descriptors for.
    pub max_connections: usize,
    /// The most connections of an IPv4 address, or of an IPv6 network of 64 bits. Does not apply behind a
    /// proxy. Default: 1024.
    pub max_connections_per_address: usize,
    /// The most requests at a time on an HTTP/2 connection. Default: 32.
    pub max_streams: u32,
    /// The timeout of the head of a request, of a TLS handshake, and of a client that does not take its
    /// answer. Default: 30 s.
    pub head_timeout: u64,
    /// The longest head of a request. Default: 128 KiB.
    pub max_head_size: usize,
    /// The timeout of the body of a request, beside the time that `min_body_rate` gives it. Default: 20 s.
    pub body_timeout: u64,
    /// The bytes of a body that must arrive in each second after `body_timeout`. Default: 16 KiB.
    pub min_body_rate: u64,
    /// The largest request body; a larger one is answered with 413 `M_TOO_LARGE`. Default: 1 MiB.
    pub max_body_size: usize,
    /// The most JSON objects and arrays in a body. Default: 50000.
    pub max_json_objects: usize,
    /// The memory of all bodies, and of all answers of other servers, that a node deals with at the same
    /// time. One address or server gets a quarter of it. Default: 512 MiB.
    pub max_memory: usize,
    /// The longest time that a sync waits, whatever the client requests. Default: 300 s.
    pub max_sync_timeout: u64,
    /// How long requests may continue after SIGTERM. Default: 30 s.
    pub shutdown_grace: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_connections_per_address: 1024,
            max_streams: 32,
            head_timeout: 30,
            max_head_size: 128 * 1024,
            body_timeout: 20,
            min_body_rate: 16 * 1024,
            max_body_size: 1024 * 1024,
            max_json_objects: 50_000,
            max_memory: 512 * 1024 * 1024,
            max_sync_timeout: 300,
            shutdown_grace: 30,
        }
    }
}

impl Limits {
    /// `head_timeout`.
    pub fn head_timeout(&self) -> Duration {
        Duration::from_secs(self.head_timeout)
    }

    /// The time within which this many bytes of a body must have arrived.
    pub fn body_time(&self, bytes: usize) -> Duration {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Duration::from_secs(self.body_timeout.saturating_add(bytes / self.min_body_rate))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let least = [
            ("max_connections", self.max_connections, 1),
            ("max_connections_per_address", self.max_connections_per_address, 1),
            ("max_streams", self.max_streams as usize, 1),
            // hyper demands as much.
            ("max_head_size", self.max_head_size, 8192),
            ("max_json_objects", self.max_json_objects, 1000),
            ("max_memory", self.max_memory, 64 * 1024 * 1024),
        ];
        for (key, value, least) in least {
            if value < least {
                return Err(ConfigError::value(format!("limits.{key}"), format!("must be at least {least}")));
            }
        }
        if self.max_body_size < 65_536 {
            let reason = "must be at least 65536, the size of an event";
            return Err(ConfigError::value("limits.max_body_size", reason));
        }
        if self.min_body_rate == 0 {
            return Err(ConfigError::value("limits.min_body_rate", "must be at least 1 byte"));
        }
        for (key, seconds) in [
            ("limits.max_sync_timeout", self.max_sync_timeout),
            ("limits.head_timeout", self.head_timeout),
            ("limits.body_timeout", self.body_timeout),
        ] {
            if !(1..=86_400).contains(&seconds) {
                return Err(ConfigError::value(key, "must be from 1 second to a day"));
            }
        }
        Ok(())
    }
}
