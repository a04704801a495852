//! JSON bodies. Client-Server API, "API Standards": a `Content-Type` is not demanded.
//!
//! A body that is not JSON is refused with `M_NOT_JSON`; JSON that is no object, lacks a key or has one of
//! the wrong type with `M_BAD_JSON` or `M_MISSING_PARAM`. A layer has read the whole body before, so that no
//! connection is closed while the client still sends.

use axum::extract::{FromRequest, Request};
use http_body_util::BodyExt;
use matriarch_rules::json::{JsonError, parse_object};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::form::{self, FormError};
use crate::base::error::ApiError;

/// The request's body, deserialized. `T` is a struct, or `serde_json::Map` for any object.
#[derive(Clone, Debug)]
pub struct JsonBody<T>(pub T);

/// As [`JsonBody`], for endpoints where clients may send no body instead of `{}`.
#[derive(Clone, Debug)]
pub struct JsonBodyOrEmpty<T>(pub T);

/// The text of a body that is a valid JSON object, for SQL functions.
#[derive(Clone, Debug)]
pub struct RawJsonBody(pub String);

/// As [`RawJsonBody`], for endpoints where clients may send no body instead of `{}`.
#[derive(Clone, Debug)]
pub struct RawJsonBodyOrEmpty(pub String);

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        parse(&text(request).await?).map(Self)
    }
}

impl<S: Sync, T: DeserializeOwned> FromRequest<S> for JsonBodyOrEmpty<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let text = text(request).await?;
        parse(if text.trim().is_empty() { "{}" } else { &text }).map(Self)
    }
}

impl<S: Sync> FromRequest<S> for RawJsonBody {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let text = text(request).await?;
        parse_object(&text).map_err(refuse)?;
        Ok(Self(text))
    }
}

impl<S: Sync> FromRequest<S> for RawJsonBodyOrEmpty {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        let text = text(request).await?;
        if text.trim().is_empty() {
            return Ok(Self("{}".to_owned()));
        }
        parse_object(&text).map_err(refuse)?;
        Ok(Self(text))
    }
}

async fn text(request: Request) -> Result<String, ApiError> {
    let bytes = request
        .into_body()
        .collect()
        .await
        .map_err(|_| ApiError::not_json("The body did not arrive whole"))?;
    String::from_utf8(bytes.to_bytes().into()).map_err(|_| ApiError::not_json("The body is not valid UTF-8"))
}

/// Parses a JSON object into `T`.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ApiError> {
    from_object(parse_object(text).map_err(refuse)?)
}

/// Reads `T` from a JSON object. Fails with 400 `M_MISSING_PARAM` if a key is missing, and `M_BAD_JSON` if
/// one has the wrong type.
pub fn from_object<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, ApiError> {
    form::from_object(object).map_err(|error| match error {
        FormError::Missing(name) => ApiError::missing_param(name),
        FormError::Invalid(reason) => ApiError::bad_json(reason),
    })
}

fn refuse(error: JsonError) -> ApiError {
    match error {
        JsonError::NotJson(_) => ApiError::not_json(error.to_string()),
        _ => ApiError::bad_json(error.to_string()),
    }
}
