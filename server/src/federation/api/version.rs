//! `GET /_matrix/federation/v1/version`. Server-Server API, "Server implementation".

use axum::Router;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;

use crate::app::App;
use crate::http::json_response;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_matrix/federation/v1/version", get(version))
}

async fn version() -> Response {
    let body = json!({ "server": { "name": "Matriarch", "version": env!("CARGO_PKG_VERSION") } });
    json_response(StatusCode::OK, body.to_string())
}
