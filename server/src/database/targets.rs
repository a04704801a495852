//! Finds the database of a command: the configured one, or the embedded PostgreSQL, which is started.

use std::time::Duration;

use super::connect::Target;
use super::embedded::Embedded;
use crate::base::failure::Failure;
use crate::config::{Config, PostgresUrl, Secret};

/// How long the database's host may leave what it is sent without a sign of receipt.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(5);

/// The connections to the database.
pub struct Database {
    /// For requests.
    pub api: Target,
    /// For `LISTEN`.
    pub listen: Target,
    /// For migrations, if this process may run them.
    pub migrate: Option<Target>,
    /// The embedded PostgreSQL, if it is used.
    pub embedded: Option<Embedded>,
}

impl Database {
    /// Finds the database, and starts the embedded PostgreSQL if that is configured. If another process runs
    /// it, this uses that if `share` is set, and fails otherwise.
    pub async fn open(config: &Config, share: bool) -> Result<Self, Failure> {
        let Some(url) = &config.database.url else {
            let embedded = Embedded::start(config, share).await?;
            let api = Target::without_tls(embedded.target("matriarch_api"))?;
            let migrate = Target::without_tls(embedded.target("postgres"))?;
            return Ok(Self { listen: api.clone(), api, migrate: Some(migrate), embedded: Some(embedded) });
        };
        Self::configured(config, url)
    }

    /// The configured database. Reads certificates, and does not connect.
    pub fn configured(config: &Config, url: &Secret) -> Result<Self, Failure> {
        let parse = |key: &str, url: &Secret| {
            parse(url, config)
                .map_err(|error| Failure::new(format!("configuration key `database.{key}`"), error))
        };
        let api = parse("url", url)?;
        let listen = config.database.listen_url.as_ref().map(|url| parse("listen_url", url)).transpose()?;
        let migrate =
            config.database.migrate_url.as_ref().map(|url| parse("migrate_url", url)).transpose()?;
        Ok(Self { listen: listen.unwrap_or_else(|| api.clone()), api, migrate, embedded: None })
    }

    /// Stops the embedded PostgreSQL.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

fn parse(url: &Secret, config: &Config) -> Result<Target, Failure> {
    let mut url: PostgresUrl = url.reveal().parse().map_err(Failure::plain)?;
    let target = &mut url.config;
    // What the URL says takes precedence.
    if target.get_connect_timeout().is_none() {
        target.connect_timeout(Duration::from_secs(config.database.connect_timeout));
    }
    // A host that vanished sends no reset. Without these, the kernel would send requests to it again for some
    // 15 minutes, and look after an idle connection once in two hours.
    if target.get_tcp_user_timeout().is_none() {
        target.tcp_user_timeout(SILENCE_TIMEOUT);
    }
    if target.get_keepalives_interval().is_none() {
        target.keepalives_idle(Duration::from_secs(2)).keepalives_interval(Duration::from_secs(1));
    }
    if target.get_application_name().is_none() {
        target.application_name(application_name(config));
    }
    Target::new(url)
}

/// `matriarch`, the host and the first port: tells the nodes apart in `pg_stat_activity`.
fn application_name(config: &Config) -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let port = config.listeners.first().map(|listener| format!(":{}", listener.port)).unwrap_or_default();
    format!("matriarch {host}{port}")
}
