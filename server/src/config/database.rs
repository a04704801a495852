//! `[database]` and `[embedded]`: the PostgreSQL server, and the number of connections.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::postgres_url::PostgresUrl;
use super::secret::Secret;

/// How the node reaches its database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Database {
    /// `postgres://matriarch_api:…@host/database`, or a libpq `key=value` string, with libpq's `sslmode`,
    /// `sslrootcert`, `sslcert` and `sslkey`. Default: the embedded PostgreSQL.
    pub url: Option<Secret>,
    /// The connection for wake-ups, needed if `url` is that of a pooler that cannot `LISTEN`. Default: `url`.
    pub listen_url: Option<Secret>,
    /// The connection that migrates at start: a superuser, or a member of `matriarch_owner` if the extension
    /// is up to date. Default: `serve` does not migrate, and says what to run if the schema is old.
    pub migrate_url: Option<Secret>,
    /// The most connections that the node opens for requests. Default: 16.
    pub pool_size: usize,
    /// How long a request waits for a free connection before it is answered with 503, in seconds. Default:
    /// 10.
    pub pool_timeout: u64,
    /// The timeout of connecting to one host of the URL, in seconds. Default: 5.
    pub connect_timeout: u64,
    /// How long a statement may take before its request is answered with 503, in seconds. Default: 300.
    pub statement_timeout: u64,
    /// The age at which connections are replaced, in seconds. Default: 3600.
    pub max_lifetime: u64,
    /// How long a running node goes on serving after the extension was replaced by another version, in
    /// seconds: the time to restart the nodes one by one. Default: 900.
    pub upgrade_time: u64,
}

/// The embedded PostgreSQL, which the node runs if `database.url` is absent.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Embedded {
    /// The folder of `postgres` and `initdb`. Default: the output of `pg_config --bindir`, or else the newest
    /// version under `/usr/lib/postgresql`.
    pub bin_dir: Option<PathBuf>,
}

impl Default for Database {
    fn default() -> Self {
        Self {
            url: None,
            listen_url: None,
            migrate_url: None,
            pool_size: 16,
            pool_timeout: 10,
            connect_timeout: 5,
            statement_timeout: 300,
            max_lifetime: 3600,
            upgrade_time: 900,
        }
    }
}

impl Database {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let urls = [("url", &self.url), ("listen_url", &self.listen_url), ("migrate_url", &self.migrate_url)];
        for (key, url) in urls {
            let Some(url) = url else { continue };
            if key != "url" && self.url.is_none() {
                return Err(ConfigError::value(
                    format!("database.{key}"),
                    "is of no use without `database.url`",
                ));
            }
            url.reveal()
                .parse::<PostgresUrl>()
                .map_err(|reason| ConfigError::value(format!("database.{key}"), reason))?;
        }
        let times = [
            ("pool_timeout", self.pool_timeout),
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("max_lifetime", self.max_lifetime),
        ];
        for (key, value) in times {
            if value == 0 {
                return Err(ConfigError::value(format!("database.{key}"), "must be at least 1 second"));
            }
        }
        if self.pool_size == 0 {
            return Err(ConfigError::value("database.pool_size", "must be at least 1"));
        }
        Ok(())
    }
}

impl Embedded {
    pub(super) fn check(&self, in_use: bool) -> Result<(), ConfigError> {
        match &self.bin_dir {
            Some(dir) if in_use && !dir.join("postgres").is_file() => Err(ConfigError::value(
                "embedded.bin_dir",
                format!("there is no `postgres` program in {}", dir.display()),
            )),
            _ => Ok(()),
        }
    }
}
