//! The event closest to a time, for other servers. Server-Server API, "Retrieving events".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{Path, Query};

const TIMESTAMP_TO_EVENT: &str = call!("matriarch.federation_timestamp_to_event($1, $2, $3, $4)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_matrix/federation/v1/timestamp_to_event/{room_id}", get(timestamp_to_event))
}

#[derive(Deserialize)]
struct Time {
    ts: i64,
    dir: String,
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
async fn timestamp_to_event(
    State(app): State<App>,
    Path(room_id): Path<String>,
    Query(time): Query<Time>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(TIMESTAMP_TO_EVENT, &[&request.origin, &room_id, &time.ts, &time.dir]).await
}
