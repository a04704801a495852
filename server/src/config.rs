//! The configuration: a TOML file and environment variables.
//!
//! A key `a.b` is read from `[a] b = …` in the file and from `MATRIARCH_A__B`, which wins. An environment
//! value is read as TOML where it looks like it (`8`, `true`, `[{address = "::1", port = 8008}]`), and as
//! text otherwise; a text of digits alone needs quotes (`'"1234"'`). Unknown keys are errors, except
//! variables that a container platform sets by itself. Everything is checked at start, so that a running node
//! has a valid configuration.

mod database;
mod environment;
mod error;
mod federation;
mod identity;
mod limits;
mod listener;
mod postgres_url;
mod presence;
mod rate_limits;
mod registration;
mod room_versions;
mod secret;
mod support;
mod terms;
#[cfg(test)]
mod tests;
mod tokens;

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::Format;
use matriarch_rules::identifiers::is_server_name;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use database::{Database, Embedded};
pub use error::ConfigError;
pub use federation::Federation;
pub use identity::Identity;
pub use limits::Limits;
pub use listener::{Api, Listener, Tls};
pub use postgres_url::{PostgresUrl, Trust};
pub use presence::Presence;
pub use rate_limits::RateLimits;
pub use registration::{Registration, RegistrationMode};
pub use room_versions::RoomVersions;
pub use secret::Secret;
pub use support::Support;
pub use terms::Policy;
pub use tokens::Tokens;

/// The configuration of a node. Everything else is in the database.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The name after the colon in user ids and aliases. It can never change. Default: `localhost` with the
    /// embedded database, required otherwise.
    pub server_name: String,
    /// The URL under which clients reach this server, answered by `/.well-known/matrix/client`.
    pub public_base_url: Option<String>,
    /// Where the node listens. Default: 127.0.0.1:8008, for clients.
    pub listeners: Vec<Listener>,
    /// The database. Without a URL, the node runs the embedded PostgreSQL.
    pub database: Database,
    /// The embedded PostgreSQL.
    pub embedded: Embedded,
    /// Where the embedded PostgreSQL keeps its data. Default: `/var/lib/matriarch` for root,
    /// `$XDG_DATA_HOME/matriarch` or `~/.local/share/matriarch` for others.
    pub data_dir: PathBuf,
    /// Who may register an account.
    pub registration: Registration,
    /// The versions of new rooms.
    pub room_versions: RoomVersions,
    /// The lifetime of access tokens.
    pub tokens: Tokens,
    /// Federation with other servers.
    pub federation: Federation,
    /// Identity servers.
    pub identity: Identity,
    /// Whether users see each other's presence.
    pub presence: Presence,
    /// Whom users and other servers turn to.
    pub support: Support,
    /// Limits of connections and requests.
    pub limits: Limits,
    /// Limits of attempts.
    pub rate_limits: RateLimits,
    /// What is logged, and in which form.
    pub log: Log,
    /// Aids for tests. Leave them off in production.
    pub debug: Debug,
    /// Environment variables that begin with `MATRIARCH_` and set no key, for the log.
    #[serde(skip)]
    pub ignored_variables: Vec<String>,
}

/// What is logged.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `text` for people, `json` for machines.
    pub format: LogFormat,
    /// A level or a list of `target=level`, as `tracing-subscriber` reads them. Default: `info` (less for
    /// libraries). Every request is logged by `matriarch::http=debug`.
    pub level: String,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// Aids for tests.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Debug {
    /// Return the number of database statements of a request in the header `x-matriarch-db-statements`.
    pub statements_header: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_name: String::new(),
            public_base_url: None,
            listeners: Vec::new(),
            database: Database::default(),
            embedded: Embedded::default(),
            data_dir: default_data_dir(),
            registration: Registration::default(),
            room_versions: RoomVersions::default(),
            tokens: Tokens::default(),
            federation: Federation::default(),
            identity: Identity::default(),
            presence: Presence::default(),
            support: Support::default(),
            limits: Limits::default(),
            rate_limits: RateLimits::default(),
            log: Log::default(),
            debug: Debug::default(),
            ignored_variables: Vec::new(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info,refinery_core=warn,tokio_postgres=warn".to_owned() }
    }
}

impl Config {
    /// Reads `file` if one is given, then the environment, fills in the defaults and checks the whole.
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let mut figment = Figment::new();
        if let Some(file) = file {
            // figment treats a missing file as an empty one.
            std::fs::metadata(file).map_err(|error| ConfigError::File(file.to_owned(), error))?;
            figment = figment.merge(Toml::file_exact(file));
        }
        let environment = environment::read()?;
        let mut config = Self::from_figment(&figment.merge(environment.keys))?;
        config.ignored_variables = environment.ignored;
        Ok(config)
    }

    fn from_figment(figment: &Figment) -> Result<Self, ConfigError> {
        let mut config: Self = figment.extract().map_err(|errors| ConfigError::Form(describe(errors)))?;
        config.fill_in()?;
        config.check()?;
        Ok(config)
    }

    /// Whether the node runs its own PostgreSQL.
    pub fn is_embedded(&self) -> bool {
        self.database.url.is_none()
    }

    /// Sets the defaults that depend on other keys.
    fn fill_in(&mut self) -> Result<(), ConfigError> {
        let all_default = self.is_embedded() && self.server_name.is_empty();
        if self.server_name.is_empty() {
            if !self.is_embedded() {
                return Err(ConfigError::value(
                    "server_name",
                    "must be set when `database.url` is (the name after the colon in user ids; \
                     it can never change)",
                ));
            }
            "localhost".clone_into(&mut self.server_name);
        }
        if self.listeners.is_empty() {
            self.listeners.push(Listener::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8008));
        }
        let loopback = self.listeners.iter().all(|listener| listener.address.is_loopback());
        let local = all_default && loopback;
        if self.registration.mode.is_none() {
            let mode = if local { RegistrationMode::Open } else { RegistrationMode::Off };
            self.registration.mode = Some(mode);
        }
        if self.public_base_url.is_none() && local {
            self.public_base_url = Some(format!("http://localhost:{}", self.listeners[0].port));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), ConfigError> {
        check_server_name(&self.server_name).map_err(|reason| ConfigError::value("server_name", reason))?;
        if let Some(url) = &self.public_base_url
            && !(url.starts_with("https://") || url.starts_with("http://"))
        {
            return Err(ConfigError::value("public_base_url", "must begin with https:// or http://"));
        }
        for (index, listener) in self.listeners.iter().enumerate() {
            listener.check(index)?;
            let earlier = &self.listeners[..index];
            // Port 0 takes any free port, so it may be repeated.
            if listener.port != 0
                && earlier.iter().any(|other| other.socket_address() == listener.socket_address())
            {
                let reason = format!("another listener is at {}", listener.socket_address());
                return Err(ConfigError::value(format!("listeners.{index}"), reason));
            }
        }
        self.database.check()?;
        self.embedded.check(self.is_embedded())?;
        self.registration.check()?;
        self.room_versions.check()?;
        self.tokens.check()?;
        self.federation.check()?;
        self.support.check()?;
        self.limits.check()?;
        tracing_subscriber::EnvFilter::try_new(&self.log.level)
            .map_err(|error| ConfigError::value("log.level", error.to_string()))?;
        Ok(())
    }
}

/// TOML as a format of figment's, whose own is of an older version of the parser.
pub(crate) struct Toml;

impl Format for Toml {
    type Error = toml::de::Error;

    const NAME: &'static str = "TOML";

    fn from_str<T: DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Formats each error with its key, without figment's profile names.
fn describe(errors: figment::Error) -> String {
    let describe_one = |error: figment::Error| {
        let mut key = error.path.join(".");
        let kind = error.kind.to_string();
        if let figment::error::Kind::UnknownField(name, _) = &error.kind
            && !key.ends_with(name.as_str())
        {
            key = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
        }
        let source = error.metadata.as_ref().map(|metadata| match &metadata.source {
            Some(figment::Source::File(path)) => path.display().to_string(),
            _ => metadata.name.to_string(),
        });
        match source {
            Some(source) if key.is_empty() => format!("{} (in {source})", kind.trim_end()),
            Some(source) => format!("key `{key}`: {kind} (in {source})"),
            None if key.is_empty() => kind,
            None => format!("key `{key}`: {kind}"),
        }
    };
    errors.into_iter().map(describe_one).collect::<Vec<_>>().join("; ")
}

/// Checks a server name by the grammar in the specification's appendices, and its length.
fn check_server_name(name: &str) -> Result<(), String> {
    if !is_server_name(name) {
        return Err(
            "must be a DNS name or an IP address (IPv6 in brackets), with an optional port".to_owned()
        );
    }
    // A user id has at most 255 bytes, which must include a localpart.
    if name.len() > 230 {
        return Err("is longer than 230 bytes".to_owned());
    }
    Ok(())
}

fn default_data_dir() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/matriarch");
    }
    let base =
        std::env::var_os("XDG_DATA_HOME").filter(|value| !value.is_empty()).map(PathBuf::from).or_else(home);
    base.map_or_else(|| PathBuf::from("matriarch-data"), |base| base.join("matriarch"))
}
