//! Nonces of registration by shared secret.
//!
//! A nonce is signed, so that every node accepts those of other nodes although they are not stored. A used
//! nonce is stored until it expires, so that it can be used only once.

#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use rand::RngExt;
use rand::rand_core::UnwrapErr;
use rand::rngs::SysRng;
use sha2::Sha256;

use crate::base::error::ApiError;
use crate::database::Db;

/// How long a nonce is valid.
const LIFETIME: Duration = Duration::from_secs(60);

const RANDOM_LENGTH: usize = 16;
const EXPIRY_LENGTH: usize = 8;
const SIGNED_LENGTH: usize = EXPIRY_LENGTH + RANDOM_LENGTH;

/// A new nonce: expiry, random bits, and their HMAC, in base64.
pub fn new(secret: &str) -> String {
    at(secret, SystemTime::now() + LIFETIME)
}

fn at(secret: &str, expiry: SystemTime) -> String {
    let expiry = expiry.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut bytes = expiry.to_be_bytes().to_vec();
    let random: [u8; RANDOM_LENGTH] = UnwrapErr(SysRng).random();
    bytes.extend(random);
    let signature = mac(secret, &bytes).finalize().into_bytes();
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Whether a node with this secret created the nonce less than a minute ago.
pub fn is_good(secret: &str, nonce: &str) -> bool {
    let Ok(bytes) = URL_SAFE_NO_PAD.decode(nonce) else { return false };
    let Some((signed, signature)) = bytes.split_at_checked(SIGNED_LENGTH) else { return false };
    let Some(expiry) = signed.first_chunk::<EXPIRY_LENGTH>() else { return false };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    mac(secret, signed).verify_slice(signature).is_ok() && now <= u64::from_be_bytes(*expiry)
}

/// Marks a nonce as used. Returns false if it was used before, at any node.
pub async fn take(db: &Db, nonce: &str) -> Result<bool, ApiError> {
    // Twice the lifetime, as the clocks of nodes differ.
    let keep = 2.0 * LIFETIME.as_secs_f64();
    Ok(db.query_opt(include_str!("use_nonce.sql"), &[&nonce, &keep]).await?.is_some())
}

fn mac(secret: &str, bytes: &[u8]) -> Hmac<Sha256> {
    let keyed = Hmac::<Sha256>::new_from_slice(secret.as_bytes());
    let keyed = keyed.unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    // The same secret also signs registrations. The label makes these signatures different.
    keyed.chain_update(b"registration nonce\0").chain_update(bytes)
}
