//! The access token of a request, of which only the hash is kept.

use sha2::{Digest, Sha256};

/// The SHA-256 hash of an access token.
///
/// It is the first parameter of SQL functions, which authenticate it: `&token.hash()`, a `bytea`. As an
/// extractor of a handler it refuses requests without a token (401 `M_MISSING_TOKEN`); `Option<AccessToken>`
/// admits them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AccessToken([u8; 32]);

impl AccessToken {
    /// The hash of `token`.
    pub fn of(token: &str) -> Self {
        Self(hash_token(token))
    }

    /// The hash, as stored in the database.
    pub fn hash(&self) -> &[u8] {
        &self.0
    }
}

/// The hash by which tokens are stored. They are long and random, so no salt is needed.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken")
    }
}
