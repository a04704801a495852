//! The access token of a request. Client-Server API, "Using access tokens".

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::{header, request::Parts};

use super::params::query_pairs;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;

/// The token in the `Authorization` header, or else in the deprecated `access_token` query parameter.
fn find_token(parts: &Parts) -> Result<Option<AccessToken>, ApiError> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let bearer = value.to_str().ok().and_then(|value| {
            let (scheme, token) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        // Ignores other schemes, such as Basic for a proxy.
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
