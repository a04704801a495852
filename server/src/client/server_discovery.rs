//! Client-Server API, "Server Discovery".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::app::App;
use crate::base::error::ApiError;
use crate::http::json_response;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/.well-known/matrix/client", get(well_known))
        .route("/.well-known/matrix/support", get(support))
}

/// `GET /.well-known/matrix/client`
///
/// 404 without `public_base_url`: clients then ask their user for the server's URL.
async fn well_known(State(app): State<App>) -> Result<Response, ApiError> {
    let Some(base_url) = &app.config.public_base_url else {
        return Err(ApiError::not_found("This server does not tell its URL"));
    };
    Ok(json_response(StatusCode::OK, json!({ "m.homeserver": { "base_url": base_url } }).to_string()))
}

/// `GET /.well-known/matrix/support`
///
/// 404 without contacts and page.
async fn support(State(app): State<App>) -> Result<Response, ApiError> {
    let support = &app.config.support;
    if support.contacts.is_empty() && support.page.is_none() {
        return Err(ApiError::not_found("This server does not tell whom to turn to"));
    }
    let mut body = json!({ "contacts": support.contacts });
    if let Some(page) = &support.page {
        body["support_page"] = Value::from(page.as_str());
    }
    Ok(json_response(StatusCode::OK, body.to_string()))
}
