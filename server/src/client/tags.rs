//! Client-Server API, "Room Tagging".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, put};

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/user/{user_id}/rooms/{room_id}/tags", get(tags))
        .client_v3("/user/{user_id}/rooms/{room_id}/tags/{tag}", put(set_tag).delete(delete_tag))
}

const TAGS: &str = call!("matriarch.tags($1, $2, $3)");

const SET_TAG: &str = call!("matriarch.set_tag($1, $2, $3, $4, $5)");

const DELETE_TAG: &str = call!("matriarch.delete_tag($1, $2, $3, $4)");

/// `GET /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags`
async fn tags(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, room_id)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    app.call(TAGS, &[&token.hash(), &user_id, &room_id]).await
}

/// `PUT /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn set_tag(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, room_id, tag)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET_TAG, &[&token.hash(), &user_id, &room_id, &tag, &content]).await
}

/// `DELETE /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}`
async fn delete_tag(
    State(app): State<App>,
    token: AccessToken,
    Path((user_id, room_id, tag)): Path<(String, String, String)>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_TAG, &[&token.hash(), &user_id, &room_id, &tag]).await
}
