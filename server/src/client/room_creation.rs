//! Client-Server API, "Room creation".

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use matriarch_rules::identifiers::is_user_id;
use serde::Deserialize;
use serde_json::json;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::federation::inviting;
use crate::http::{AccessToken, ClientRoutes, RawJsonBody};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/createRoom", post(create_room))
}

const CREATE_ROOM: &str =
    "select status, body, wake_rooms, wake_users from matriarch.create_room($1, $2, $3)";

/// What of the body is for others; the function in the database reads it whole, and refuses what is malformed.
#[derive(Default, Deserialize)]
struct Invited {
    invite: Option<Vec<String>>,
    is_direct: Option<bool>,
}

#[derive(Deserialize)]
struct Room {
    room_id: String,
}

/// `POST /_matrix/client/v3/createRoom`
async fn create_room(
    State(app): State<AppState>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let invited: Invited = serde_json::from_str(&body).unwrap_or_default();
    let mut elsewhere = invited.invite.unwrap_or_default();
    elsewhere.retain(|user_id| is_user_id(user_id) && app.is_elsewhere(user_id));
    elsewhere.sort_unstable();
    elsewhere.dedup();
    let created = app.call(CREATE_ROOM, &[&token.hash(), &body, &elsewhere]).await?;
    if !created.status.is_success() || elsewhere.is_empty() {
        return Ok(created);
    }
    let room: Room = serde_json::from_str(&created.body).map_err(|_| ApiError::internal())?;
    let content = if invited.is_direct == Some(true) { json!({ "is_direct": true }) } else { json!({}) };
    inviting::invite_all(&app, &token, &room.room_id, &elsewhere, &content).await;
    Ok(created)
}
