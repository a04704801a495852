//! Older events of a room for other servers. Server-Server API, "Backfilling and retrieving missing events".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::Value;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{Path, QueryPairs};

const BACKFILL: &str = call!("matriarch.federation_backfill($1, $2, $3, $4)");
const MISSING_EVENTS: &str = call!("matriarch.federation_missing_events($1, $2, $3)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/backfill/{room_id}", get(backfill))
        .route("/_matrix/federation/v1/get_missing_events/{room_id}", post(missing_events))
}

/// `GET /_matrix/federation/v1/backfill/{roomId}`
async fn backfill(
    State(app): State<App>,
    Path(room_id): Path<String>,
    query: QueryPairs,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let event_ids = query.all("v");
    let limit = query.all("limit").pop().ok_or_else(|| ApiError::missing_param("limit"))?;
    if event_ids.is_empty() {
        return Err(ApiError::missing_param("v"));
    }
    let limit: i64 = limit.parse().map_err(|_| ApiError::invalid_param("`limit` is a number"))?;
    app.call(BACKFILL, &[&request.origin, &room_id, &event_ids, &limit]).await
}

/// `POST /_matrix/federation/v1/get_missing_events/{roomId}`
async fn missing_events(
    State(app): State<App>,
    Path(room_id): Path<String>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let body = Value::Object(request.content.object()).to_string();
    app.call(MISSING_EVENTS, &[&request.origin, &room_id, &body]).await
}
