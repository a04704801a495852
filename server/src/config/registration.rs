//! `[registration]`: who may register an account.

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::secret::Secret;
use super::terms::{self, Policy};

/// Who may register an account.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Registration {
    /// Default: `open` with the embedded PostgreSQL, the name `localhost` and only loopback listeners;
    /// otherwise `off`.
    pub mode: Option<RegistrationMode>,
    /// Lets tools register users on `/_synapse/admin/v1/register`, whatever the mode.
    pub shared_secret: Option<Secret>,
    /// The least length of passwords that users choose, in characters. Default: 8.
    pub min_password_length: usize,
    /// Documents that new users must agree to.
    pub terms: Vec<Policy>,
}

impl Default for Registration {
    fn default() -> Self {
        Self { mode: None, shared_secret: None, min_password_length: 8, terms: Vec::new() }
    }
}

/// Who may use `POST /_matrix/client/v3/register`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Nobody.
    Off,
    /// Anybody.
    Open,
    /// Users who have a registration token.
    Token,
    /// Only `/_synapse/admin/v1/register` with the shared secret.
    SharedSecret,
}

impl Registration {
    /// The mode, after defaults are set.
    pub fn mode(&self) -> RegistrationMode {
        self.mode.unwrap_or(RegistrationMode::Off)
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        terms::check(&self.terms)?;
        if !(1..=128).contains(&self.min_password_length) {
            let reason = "must be from 1 to 128 characters";
            return Err(ConfigError::value("registration.min_password_length", reason));
        }
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
