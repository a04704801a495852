//! Single events, states and authorization chains. Server-Server API, "Retrieving events" and "PDUs".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use super::authentication::ServerRequest;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{Path, Query};
use crate::state::AppState;

const EVENT: &str = "select status, body, wake_rooms, wake_users from matriarch.federation_event($1, $2)";
const STATE: &str = "select status, body, wake_rooms, wake_users from matriarch.federation_state($1, $2, $3)";
const STATE_IDS: &str =
    "select status, body, wake_rooms, wake_users from matriarch.federation_state_ids($1, $2, $3)";
const EVENT_AUTH: &str =
    "select status, body, wake_rooms, wake_users from matriarch.federation_event_auth($1, $2, $3)";
const TIMESTAMP_TO_EVENT: &str = "select status, body, wake_rooms, wake_users from matriarch.federation_timestamp_to_event($1, $2, $3, $4)";

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/federation/v1/event/{event_id}", get(event))
        .route("/_matrix/federation/v1/state/{room_id}", get(state))
        .route("/_matrix/federation/v1/state_ids/{room_id}", get(state_ids))
        .route("/_matrix/federation/v1/event_auth/{room_id}/{event_id}", get(event_auth))
        .route("/_matrix/federation/v1/timestamp_to_event/{room_id}", get(timestamp_to_event))
}

type Answer = Result<MatrixResponse, ApiError>;

/// `GET /_matrix/federation/v1/event/{eventId}`
async fn event(State(app): State<AppState>, Path(event_id): Path<String>, request: ServerRequest) -> Answer {
    app.call(EVENT, &[&request.origin, &event_id]).await
}

#[derive(Deserialize)]
struct At {
    event_id: String,
}

/// `GET /_matrix/federation/v1/state/{roomId}`
async fn state(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
    Query(at): Query<At>,
    request: ServerRequest,
) -> Answer {
    app.call(STATE, &[&request.origin, &room_id, &at.event_id]).await
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
async fn state_ids(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
    Query(at): Query<At>,
    request: ServerRequest,
) -> Answer {
    app.call(STATE_IDS, &[&request.origin, &room_id, &at.event_id]).await
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
async fn event_auth(
    State(app): State<AppState>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Answer {
    app.call(EVENT_AUTH, &[&request.origin, &room_id, &event_id]).await
}

#[derive(Deserialize)]
struct Time {
    ts: i64,
    dir: String,
}

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
async fn timestamp_to_event(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
    Query(time): Query<Time>,
    request: ServerRequest,
) -> Answer {
    app.call(TIMESTAMP_TO_EVENT, &[&request.origin, &room_id, &time.ts, &time.dir]).await
}
