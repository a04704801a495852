//! How often somebody may try: buckets of attempts, which each node keeps for itself.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::buckets::Buckets;
use crate::base::error::ApiError;
use crate::base::limit;
use crate::config::RateLimits;

/// The buckets of a node.
pub struct Rates {
    wrong_passwords: Buckets<IpAddr>,
    wrong_passwords_of_account: Buckets<String>,
    registrations: Buckets<IpAddr>,
    registration_attempts: Buckets<IpAddr>,
    unsigned_federation: Buckets<IpAddr>,
    federation: Buckets<String>,
}

impl Rates {
    /// Full buckets.
    pub fn new(config: &RateLimits) -> Self {
        Self {
            wrong_passwords: Buckets::new(config.wrong_passwords),
            wrong_passwords_of_account: Buckets::new(config.wrong_passwords_of_account),
            registrations: Buckets::new(config.registrations),
            registration_attempts: Buckets::new(config.registration_attempts),
            unsigned_federation: Buckets::new(config.unsigned_federation),
            federation: Buckets::new(config.federation),
        }
    }

    /// Before a password is compared: takes an attempt of the network that the request comes from, if it
    /// counts, and of the account that it names, if that counts. They are put back if the password was right.
    ///
    /// An account has attempts of its own so that many networks together do not guess more. Networks in which
    /// it has a device do not take of them: others could use them up, and its user would be shut out.
    pub fn password(&self, network: Option<IpAddr>, account: Option<&str>) -> Result<Attempt<'_>, ApiError> {
        if let Some(network) = &network {
            let taken = self.wrong_passwords.take(network);
            taken.map_err(|wait| refused("wrong_passwords", *network, wait))?;
        }
        let attempt = Attempt { rates: self, network, account: account.map(str::to_owned) };
        if let Some(account) = &attempt.account {
            let taken = self.wrong_passwords_of_account.take(account);
            taken.map_err(|wait| refused("wrong_passwords_of_account", account, wait))?;
        }
        Ok(attempt)
    }

    /// Before an account is made.
    pub fn registration(&self, network: IpAddr) -> Result<(), ApiError> {
        self.registrations.take(&network).map_err(|wait| refused("registrations", network, wait))
    }

    /// Before an answer tells whether a user name is free or a registration token is good.
    pub fn registration_attempt(&self, network: IpAddr) -> Result<(), ApiError> {
        let taken = self.registration_attempts.take(&network);
        taken.map_err(|wait| refused("registration_attempts", network, wait))
    }

    /// Before work for a request of another server whose signature is not known to be right.
    pub fn unsigned_federation(&self, network: IpAddr) -> Result<(), ApiError> {
        let taken = self.unsigned_federation.take(&network);
        taken.map_err(|wait| refused("unsigned_federation", network, wait))
    }

    /// Puts back what [`Self::unsigned_federation`] took: the signature is right.
    pub fn signed_federation(&self, network: IpAddr) {
        self.unsigned_federation.put_back(&network);
    }

    /// Before a request of a server is dealt with.
    pub fn federation(&self, origin: &str) -> Result<(), ApiError> {
        let taken = self.federation.take(&origin.to_owned());
        taken.map_err(|wait| refused("federation", origin, wait))
    }
}

/// An attempt to name a password.
pub struct Attempt<'r> {
    rates: &'r Rates,
    network: Option<IpAddr>,
    account: Option<String>,
}

impl Attempt<'_> {
    /// The password was right.
    pub fn was_right(self) {
        if let Some(network) = &self.network {
            self.rates.wrong_passwords.put_back(network);
        }
        if let Some(account) = &self.account {
            self.rates.wrong_passwords_of_account.put_back(account);
        }
    }
}

fn refused(limit: &'static str, who: impl std::fmt::Display, wait: Duration) -> ApiError {
    limit::reached(limit, who);
    let milliseconds = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    ApiError::limit_exceeded("Too many attempts; try again later", milliseconds)
}
