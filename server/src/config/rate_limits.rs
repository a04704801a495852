//! `[rate_limits]`: how often somebody may try.

use serde::{Deserialize, Serialize};

use crate::base::buckets::Rate;

/// Limits of attempts, at each node. An address is an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateLimits {
    /// Wrong passwords from an address. Default: 10 a minute, 30 at once.
    pub wrong_passwords: Rate,
    /// Wrong passwords of an account, from addresses where none of its devices was seen. Default: 6 a minute,
    /// 30 at once.
    pub wrong_passwords_of_account: Rate,
    /// Accounts registered from an address. Default: 5 a minute, 20 at once.
    pub registrations: Rate,
    /// Questions from an address whether a user name is free or a registration token is good, and attempts to
    /// register. Default: 60 a minute, 60 at once.
    pub registration_attempts: Rate,
    /// Requests of other servers from an address whose signature is wrong, and questions about other servers'
    /// keys. Default: 120 a minute, 240 at once.
    pub unsigned_federation: Rate,
    /// Requests of another server. Default: 6000 a minute, 2000 at once.
    pub federation: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        let rate = |per_minute, burst| Rate { per_minute, burst };
        Self {
            wrong_passwords: rate(10, 30),
            wrong_passwords_of_account: rate(6, 30),
            registrations: rate(5, 20),
            registration_attempts: rate(60, 60),
            unsigned_federation: rate(120, 240),
            federation: rate(6000, 2000),
        }
    }
}
