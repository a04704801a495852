//! Which database a command uses: the configured one, or the private PostgreSQL, started for it.

use std::time::Duration;

use tokio_postgres::Config as Target;

use super::embedded::Embedded;
use crate::base::failure::Failure;
use crate::config::{Config, Secret};

/// How to reach the database in its several roles.
pub struct Database {
    /// For requests.
    pub api: Target,
    /// For `LISTEN`.
    pub listen: Target,
    /// For migrations, where they may run.
    pub migrate: Option<Target>,
    /// The private PostgreSQL, if there is one that this process started.
    pub embedded: Option<Embedded>,
}

impl Database {
    /// Finds the database, and starts the private PostgreSQL where that is meant. Fails when another process runs it,
    /// unless `share` is set: then that one is used.
    pub async fn open(config: &Config, share: bool) -> Result<Self, Failure> {
        let Some(url) = &config.database.url else {
            let embedded = Embedded::start(config, share).await?;
            let (api, migrate) = (embedded.target("matriarch_api"), embedded.target("postgres"));
            return Ok(Self { listen: api.clone(), api, migrate: Some(migrate), embedded: Some(embedded) });
        };
        let api = parse(url, config)?;
        let listen =
            config.database.listen_url.as_ref().map_or_else(|| Ok(api.clone()), |url| parse(url, config))?;
        let migrate = config.database.migrate_url.as_ref().map(|url| parse(url, config)).transpose()?;
        Ok(Self { api, listen, migrate, embedded: None })
    }

    /// Stops the private PostgreSQL.
    pub async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

fn parse(url: &Secret, config: &Config) -> Result<Target, Failure> {
    let mut target: Target =
        url.reveal().parse().map_err(|error| Failure::new("configuration key `database`", error))?;
    target.connect_timeout(Duration::from_secs(config.database.connect_timeout));
    // A peer that vanished is noticed in a minute and not in two hours.
    target
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3);
    if target.get_application_name().is_none() {
        target.application_name("matriarch");
    }
    Ok(target)
}
