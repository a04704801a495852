//! Finds the database of a command: the configured one, or the embedded PostgreSQL, which is started.

use std::time::Duration;

use super::connect::Target;
use super::embedded::Embedded;
use crate::base::failure::Failure;
use crate::config::{Config, PostgresUrl, Secret};

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
    target.connect_timeout(Duration::from_secs(config.database.connect_timeout));
    // Detects a dead peer after a minute instead of two hours.
    target
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    if target.get_application_name().is_none() {
        target.application_name("matriarch");
    }
    Target::new(url)
}
