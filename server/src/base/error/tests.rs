#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::ApiError;

#[test]
fn body_holds_errcode_error_and_extra_members() {
    let error =
        ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", "Unknown token").with("soft_logout", true);
    let body: Value = serde_json::from_str(&error.body()).unwrap();
    assert_eq!(body, json!({"errcode": "M_UNKNOWN_TOKEN", "error": "Unknown token", "soft_logout": true}));
}

#[test]
fn each_constructor_has_the_status_of_the_specification() {
    let cases = [
        (ApiError::not_json("x"), 400, "M_NOT_JSON"),
        (ApiError::bad_json("x"), 400, "M_BAD_JSON"),
        (ApiError::missing_param("x"), 400, "M_MISSING_PARAM"),
        (ApiError::invalid_param("x"), 400, "M_INVALID_PARAM"),
        (ApiError::missing_token(), 401, "M_MISSING_TOKEN"),
        (ApiError::forbidden("x"), 403, "M_FORBIDDEN"),
        (ApiError::not_found("x"), 404, "M_NOT_FOUND"),
        (ApiError::unrecognized(), 404, "M_UNRECOGNIZED"),
        (ApiError::method_not_allowed(), 405, "M_UNRECOGNIZED"),
        (ApiError::too_large(), 413, "M_TOO_LARGE"),
        (ApiError::internal(), 500, "M_UNKNOWN"),
        (ApiError::unavailable(), 503, "M_UNKNOWN"),
    ];
    for (error, status, errcode) in cases {
        assert_eq!((error.status.as_u16(), error.errcode.as_ref()), (status, errcode));
    }
}

#[test]
fn unavailable_asks_to_retry() {
    let response = ApiError::unavailable().into_response();
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
}
