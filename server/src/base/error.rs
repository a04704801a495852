//! Matrix errors, and their conversion into HTTP answers.
//!
//! Client-Server API, "Standard error response": a JSON object with `errcode` and `error`.

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::json_response::json_response;

/// The error of a request. Clients get its message, so it must not contain internal details.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiError {
    /// The HTTP status.
    pub status: StatusCode,
    /// `M_…`
    pub errcode: Cow<'static, str>,
    /// A message for users.
    pub message: Cow<'static, str>,
    /// Members beside `errcode` and `error`, such as `soft_logout`.
    pub extra: Map<String, Value>,
    /// Seconds for the `Retry-After` header.
    pub retry_after: Option<u32>,
}

impl ApiError {
    /// An error with this status, code and message.
    pub fn new(
        status: StatusCode,
        errcode: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            errcode: errcode.into(),
            message: message.into(),
            extra: Map::new(),
            retry_after: None,
        }
    }

    /// Adds a member beside `errcode` and `error`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// 400 `M_NOT_JSON`: the body is not JSON.
    pub fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_NOT_JSON", message)
    }

    /// 400 `M_BAD_JSON`: the body is JSON of the wrong form.
    pub fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_BAD_JSON", message)
    }

    /// 400 `M_MISSING_PARAM`: `name` is required.
    pub fn missing_param(name: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_MISSING_PARAM", format!("Missing parameter: {name}"))
    }

    /// 400 `M_INVALID_PARAM`: a parameter has an invalid value.
    pub fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "M_INVALID_PARAM", message)
    }

    /// 401 `M_MISSING_TOKEN`: the request carries no access token.
    pub fn missing_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "M_MISSING_TOKEN", "Missing access token")
    }

    /// 403 `M_FORBIDDEN`.
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "M_FORBIDDEN", message)
    }

    /// 404 `M_NOT_FOUND`: the requested object does not exist.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_NOT_FOUND", message)
    }

    /// 404 `M_UNRECOGNIZED`: there is no such endpoint.
    pub fn unrecognized() -> Self {
        Self::new(StatusCode::NOT_FOUND, "M_UNRECOGNIZED", "Unrecognized request")
    }

    /// 405 `M_UNRECOGNIZED`: the endpoint does not have this method.
    pub fn method_not_allowed() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "M_UNRECOGNIZED", "Unrecognized method for this endpoint")
    }

    /// 413 `M_TOO_LARGE`: the body is over the limit.
    pub fn too_large() -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "M_TOO_LARGE", "The request body is too large")
    }

    /// 429 `M_LIMIT_EXCEEDED`: the client may try again after this many milliseconds.
    pub fn limit_exceeded(message: &'static str, retry_after_ms: u64) -> Self {
        let seconds = u32::try_from(retry_after_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "M_LIMIT_EXCEEDED", message);
        Self { retry_after: Some(seconds), ..error }.with("retry_after_ms", retry_after_ms)
    }

    /// 503 `M_UNKNOWN` with `Retry-After`: the database is not reachable, full or restarting. The client may
    /// repeat the request.
    pub fn unavailable() -> Self {
        let message = "The server cannot reach its database at the moment; try again";
        Self { retry_after: Some(1), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message) }
    }

    /// 500 `M_UNKNOWN`: a bug. The log has the details with the request id; the client gets none.
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "M_UNKNOWN", "Internal server error")
    }

    /// The JSON object of the answer.
    pub fn body(&self) -> String {
        let mut object = self.extra.clone();
        object.insert("errcode".to_owned(), self.errcode.as_ref().into());
        object.insert("error".to_owned(), self.message.as_ref().into());
        Value::Object(object).to_string()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = json_response(self.status, self.body());
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
