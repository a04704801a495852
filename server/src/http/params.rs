//! Path and query parameters, percent-decoded and valid for SQL.
//!
//! PostgreSQL's `text` cannot contain invalid UTF-8 or U+0000, and no Matrix identifier does. Both are
//! refused here, so that no handler can pass them on.

use std::borrow::Cow;

use axum::extract::{FromRequestParts, Path as AxumPath, RawPathParams};
use axum::http::request::Parts;
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;

use super::form::{FormError, from_parameters};
use crate::base::error::ApiError;

/// The parameters of the path, as axum's `Path`: one value, a tuple, or a struct.
#[derive(Clone, Debug)]
pub struct Path<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let refuse = || ApiError::invalid_param("A path parameter is not valid UTF-8, or of the wrong form");
        let raw = RawPathParams::from_request_parts(parts, state).await.map_err(|_| refuse())?;
        if raw.iter().any(|(_, value)| value.contains('\0')) {
            return Err(ApiError::invalid_param("A path parameter holds a NUL character"));
        }
        let AxumPath(value) = AxumPath::from_request_parts(parts, state).await.map_err(|_| refuse())?;
        Ok(Self(value))
    }
}

/// The query parameters, as axum's `Query`: a struct. A parameter that is repeated or malformed is 400
/// `M_INVALID_PARAM`; a required one that is missing is `M_MISSING_PARAM`.
#[derive(Clone, Debug)]
pub struct Query<T>(pub T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let value = from_parameters(query_pairs(parts)?).map_err(|error| match error {
            FormError::Missing(name) => ApiError::missing_param(name),
            FormError::Invalid(reason) => ApiError::invalid_param(format!("Bad query parameter: {reason}")),
        })?;
        Ok(Self(value))
    }
}

/// The query parameters in their order; some may be repeated.
#[derive(Clone, Debug)]
pub struct QueryPairs(Vec<(String, String)>);

impl QueryPairs {
    /// The values of a parameter, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.as_str()).collect()
    }
}

impl<S: Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        query_pairs(parts).map(Self)
    }
}

/// The values of the query parameter `via` and of its older name `server_name`, both of which may be
/// repeated.
#[derive(Clone, Debug)]
pub struct Via(pub Vec<String>);

impl<S: Sync> FromRequestParts<S> for Via {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let pairs = QueryPairs::from_request_parts(parts, state).await?;
        let named = |name| pairs.all(name).into_iter().map(str::to_owned).collect::<Vec<_>>();
        let via = named("via");
        Ok(Self(if via.is_empty() { named("server_name") } else { via }))
    }
}

/// Decodes the query strictly, by the rules of HTML forms.
pub(super) fn query_pairs(parts: &Parts) -> Result<Vec<(String, String)>, ApiError> {
    let query = parts.uri.query().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((decode(name)?, decode(value)?))
        })
        .collect()
}

fn decode(encoded: &str) -> Result<String, ApiError> {
    let spaced =
        if encoded.contains('+') { Cow::Owned(encoded.replace('+', " ")) } else { Cow::Borrowed(encoded) };
    let decoded = percent_decode(spaced.as_bytes())
        .decode_utf8()
        .map_err(|_| ApiError::invalid_param("A query parameter is not valid UTF-8"))?;
    if decoded.contains('\0') {
        return Err(ApiError::invalid_param("A query parameter holds a NUL character"));
    }
    Ok(decoded.into_owned())
}
