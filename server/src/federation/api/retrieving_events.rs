//! Single events, states and auth chains, for other servers. Server-Server API, "Retrieving events" and
//! "PDUs".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{Path, Query};

const EVENT: &str = call!("matriarch.federation_event($1, $2)");
const STATE: &str = call!("matriarch.federation_state($1, $2, $3)");
const STATE_IDS: &str = call!("matriarch.federation_state_ids($1, $2, $3)");
const EVENT_AUTH: &str = call!("matriarch.federation_event_auth($1, $2, $3)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/event/{event_id}", get(event))
        .route("/_matrix/federation/v1/state/{room_id}", get(state))
        .route("/_matrix/federation/v1/state_ids/{room_id}", get(state_ids))
        .route("/_matrix/federation/v1/event_auth/{room_id}/{event_id}", get(event_auth))
}

type Answer = Result<MatrixResponse, ApiError>;

/// `GET /_matrix/federation/v1/event/{eventId}`
async fn event(State(app): State<App>, Path(event_id): Path<String>, request: ServerRequest) -> Answer {
    app.call(EVENT, &[&request.origin, &event_id]).await
}

#[derive(Deserialize)]
struct At {
    event_id: String,
}

/// `GET /_matrix/federation/v1/state/{roomId}`
async fn state(
    State(app): State<App>,
    Path(room_id): Path<String>,
    Query(at): Query<At>,
    request: ServerRequest,
) -> Answer {
    app.call(STATE, &[&request.origin, &room_id, &at.event_id]).await
}

/// `GET /_matrix/federation/v1/state_ids/{roomId}`
async fn state_ids(
    State(app): State<App>,
    Path(room_id): Path<String>,
    Query(at): Query<At>,
    request: ServerRequest,
) -> Answer {
    app.call(STATE_IDS, &[&request.origin, &room_id, &at.event_id]).await
}

/// `GET /_matrix/federation/v1/event_auth/{roomId}/{eventId}`
async fn event_auth(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Answer {
    app.call(EVENT_AUTH, &[&request.origin, &room_id, &event_id]).await
}
