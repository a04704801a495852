//! Access and refresh tokens, and device ids.

#[cfg(test)]
mod tests;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use serde_json::{Map, Value};

use crate::base::access_token::hash_token;

/// The prefix of access tokens.
const ACCESS: &str = "mat_";
/// The prefix of access tokens from a refresh: their first use ends the tokens that they replace.
pub const REFRESHED: &str = "matr_";
/// The prefix of refresh tokens.
const REFRESH: &str = "mar_";

/// New tokens for a device.
pub struct Grant {
    access_token: String,
    /// Present for clients that can refresh tokens; only their access tokens expire.
    refresh: Option<(String, Duration)>,
}

impl Grant {
    /// Tokens for a login or registration. With a `lifetime` the access token expires, and there is a refresh
    /// token.
    pub fn new(lifetime: Option<Duration>) -> Self {
        Self { access_token: random(ACCESS), refresh: lifetime.map(|lifetime| (random(REFRESH), lifetime)) }
    }

    /// Tokens that replace earlier ones.
    pub fn refreshed(lifetime: Duration) -> Self {
        Self { access_token: random(REFRESHED), refresh: Some((random(REFRESH), lifetime)) }
    }

    /// SHA-256 of the access token.
    pub fn access_hash(&self) -> Vec<u8> {
        hash_token(&self.access_token).to_vec()
    }

    /// SHA-256 of the refresh token.
    pub fn refresh_hash(&self) -> Option<Vec<u8>> {
        self.refresh.as_ref().map(|(token, _)| hash_token(token).to_vec())
    }

    /// The lifetime of the access token in seconds; `None` if it does not expire.
    pub fn lifetime_seconds(&self) -> Option<f64> {
        self.refresh.as_ref().map(|(_, lifetime)| lifetime.as_secs_f64())
    }

    /// Adds the tokens to an answer.
    pub fn write(self, answer: &mut Map<String, Value>) {
        answer.insert("access_token".to_owned(), self.access_token.into());
        if let Some((token, lifetime)) = self.refresh {
            answer.insert("refresh_token".to_owned(), token.into());
            let millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
            answer.insert("expires_in_ms".to_owned(), millis.into());
        }
    }
}

/// `prefix` and 256 random bits.
pub fn random(prefix: &str) -> String {
    let bytes: [u8; 32] = UnwrapErr(SysRng).random();
    format!("{prefix}{}", URL_SAFE_NO_PAD.encode(bytes))
}

/// A device id for a client that did not choose one: ten letters, so that it is no possible cross-signing key
/// id.
pub fn device_id() -> String {
    let mut random = rand::rng();
    (0..10).map(|_| char::from(random.random_range(b'A'..=b'Z'))).collect()
}
