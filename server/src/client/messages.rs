//! `GET /rooms/{roomId}/messages`. Client-Server API, "Getting events for a room".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Path, Query};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/rooms/{room_id}/messages", get(messages))
}

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    to: Option<String>,
    dir: String,
    limit: Option<i64>,
    filter: Option<String>,
}

const MESSAGES: &str = "
    select status, body, wake_rooms, wake_users from matriarch.messages($1, $2, $3, $4, $5, $6, $7)";

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
async fn messages(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(Parameters { from, to, dir, limit, filter }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    app.call(MESSAGES, &[&token.hash(), &room_id, &from, &to, &dir, &limit, &filter]).await
}
