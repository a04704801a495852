//! `[registration]`: who may make an account.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::secret::Secret;
use super::terms::{self, Policy};

/// Who may make an account.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// Default: `open` with the private PostgreSQL, the name `localhost` and loopback listeners alone; else `off`.
    pub mode: Option<RegistrationMode>,
    /// Lets tools register users on `/_synapse/admin/v1/register`, whatever the mode.
    pub shared_secret: Option<Secret>,
    /// Documents that those who register agree to.
    pub terms: Vec<Policy>,
}

/// What `POST /_matrix/client/v3/register` demands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Nobody registers.
    Off,
    /// Anybody registers.
    Open,
    /// Whoever has a registration token registers.
    Token,
    /// Only `/_synapse/admin/v1/register` with the shared secret.
    SharedSecret,
}

impl Registration {
    /// The mode, after the defaults were filled in.
    pub fn mode(&self) -> RegistrationMode {
        self.mode.unwrap_or(RegistrationMode::Off)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        terms::check(&self.terms)?;
        let key = "registration.shared_secret";
        match &self.shared_secret {
            None if self.mode == Some(RegistrationMode::SharedSecret) => {
                Err(ConfigError::value(key, "must be set when `registration.mode` is `shared_secret`"))
            }
            Some(secret) if secret.reveal().len() < 8 => {
                Err(ConfigError::value(key, "must have at least 8 bytes"))
            }
            _ => Ok(()),
        }
    }
}
