//! Reading the state of rooms. Client-Server API, "Getting events for a room".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, Query};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/rooms/{room_id}/state", get(room_state))
        .client_v3("/rooms/{room_id}/state/{event_type}", get(state_event))
        .client_v3("/rooms/{room_id}/state/{event_type}/", get(state_event))
        .client_v3("/rooms/{room_id}/state/{event_type}/{state_key}", get(state_event_with_key))
}

const ROOM_STATE: &str = call!("matriarch.room_state($1, $2)");
const STATE_EVENT: &str = call!("matriarch.room_state_event($1, $2, $3, $4, $5)");

#[derive(Deserialize)]
struct Parameters {
    format: Option<String>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state`
async fn room_state(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(ROOM_STATE, &[&token.hash(), &room_id]).await
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}`: the empty state key
async fn state_event(
    app: State<App>,
    token: AccessToken,
    Path((room_id, event_type)): Path<(String, String)>,
    query: Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    state_event_with_key(app, token, Path((room_id, event_type, String::new())), query).await
}

/// `GET /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn state_event_with_key(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, event_type, state_key)): Path<(String, String, String)>,
    Query(Parameters { format }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    app.call(STATE_EVENT, &[&token.hash(), &room_id, &event_type, &state_key, &format]).await
}
