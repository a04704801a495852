//! `/health` and `/metrics`, for administrators.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use crate::app::App;
use crate::http::json_response;

/// Health endpoints.
pub fn health_routes() -> Router<App> {
    Router::new()
        .route("/health", get(health))
        .route("/health/live", get(live))
        .route("/health/ready", get(health))
}

/// The endpoint that Prometheus reads.
pub fn metrics_routes(metrics: PrometheusHandle) -> Router<App> {
    let render = move || async move {
        let text = HeaderValue::from_static("text/plain; version=0.0.4");
        ([(header::CONTENT_TYPE, text)], metrics.render()).into_response()
    };
    Router::new().route("/metrics", get(render))
}

/// `GET /health/live`: always 200. Restart the process if it does not answer.
async fn live() -> Response {
    json_response(StatusCode::OK, json!({ "live": true }).to_string())
}

/// `GET /health/ready`, `GET /health`: 200 if the node can serve. 503 while its database cannot, for the
/// `reason` that is told, and while it shuts down: send requests to other nodes.
async fn health(State(app): State<App>) -> Response {
    let draining = app.hub.is_draining();
    let database = app.db.ready().await;
    let ready = database.is_ok() && !draining;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut body =
        json!({ "live": true, "ready": ready, "database": database.is_ok(), "draining": draining });
    if let Err(reason) = database {
        body["reason"] = reason.into();
    }
    json_response(status, body.to_string())
}
