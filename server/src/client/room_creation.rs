//! Client-Server API, "Room creation".

use axum::Router;
use axum::extract::State;
use axum::routing::post;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, RawJsonBody};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/createRoom", post(create_room))
}

const CREATE_ROOM: &str = "select status, body, wake_rooms, wake_users from matriarch.create_room($1, $2)";

/// `POST /_matrix/client/v3/createRoom`
async fn create_room(
    State(app): State<AppState>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(CREATE_ROOM, &[&token.hash(), &body]).await
}
