//! Client-Server API, "Room Upgrades".

use axum::Router;
use axum::extract::State;
use axum::routing::post;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/rooms/{room_id}/upgrade", post(upgrade))
}

const UPGRADE: &str = "select status, body, wake_rooms, wake_users from matriarch.upgrade_room($1, $2, $3)";

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
async fn upgrade(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPGRADE, &[&token.hash(), &room_id, &body]).await
}
