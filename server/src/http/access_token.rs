//! The access token of a request. Client-Server API, "Using access tokens".

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::{header, request::Parts};
use sha2::{Digest, Sha256};

use super::params::query_pairs;
use crate::error::ApiError;

/// The SHA-256 hash of the request's access token. The token itself goes no further than this extractor.
///
/// It is the first parameter of SQL functions, which authenticate it: `&token.hash()`, a `bytea`. As an extractor it refuses requests without a
/// token (401 `M_MISSING_TOKEN`); `Option<AccessToken>` admits them.
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

/// How tokens are hashed wherever they are stored. They are long and random, so that no salt is needed.
pub fn hash_token(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

impl std::fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AccessToken")
    }
}

/// The token in the `Authorization` header, or else in the deprecated `access_token` query parameter.
fn find_token(parts: &Parts) -> Result<Option<AccessToken>, ApiError> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        // Other schemes, such as a proxy's Basic, are not for us.
        if let Some(token) = bearer.filter(|token| !token.is_empty()) {
            return Ok(Some(AccessToken::of(token)));
        }
    }
    let pairs = query_pairs(parts)?;
    let token = pairs.iter().find(|(name, _)| name == "access_token").map(|(_, token)| token);
    Ok(token.filter(|token| !token.is_empty()).map(|token| AccessToken::of(token)))
}

impl<S: Sync> FromRequestParts<S> for AccessToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        find_token(parts)?.ok_or_else(ApiError::missing_token)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AccessToken {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, ApiError> {
        find_token(parts)
    }
}
