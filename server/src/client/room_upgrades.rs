//! Client-Server API, "Room Upgrades".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::federation::policy_servers::{self, Unsigned};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/rooms/{room_id}/upgrade", post(upgrade))
}

const UPGRADE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.upgrade_room($1, $2, $3, $4, $5)";

/// `POST /_matrix/client/v3/rooms/{roomId}/upgrade`
async fn upgrade(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let (hash, unsigned) = (token.hash(), (None::<String>, None::<i64>));
    let answer = app.call_when_whole(UPGRADE, &[&hash, &room_id, &body, &unsigned.0, &unsigned.1]).await?;
    if answer.status != StatusCode::PRECONDITION_REQUIRED {
        app.hub.wake(&answer.wake_rooms, &answer.wake_users);
        return policy_servers::complete(&app, answer).await;
    }
    // The room is made together with the tombstone of the old one, once that is signed.
    let unsigned: Unsigned = serde_json::from_str(&answer.body).map_err(|_| ApiError::internal())?;
    let tombstone = policy_servers::signed(&app, &unsigned).await?;
    app.call(UPGRADE, &[&hash, &room_id, &body, &tombstone, &unsigned.created_at]).await
}
