//! Client-Server API, "Typing Notifications".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path};

/// The timeout if the client sends none, in milliseconds: the value that most clients send.
const DEFAULT_TIMEOUT_MS: i64 = 30_000;

/// The endpoints of this file.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/typing/{user_id}", put(set_typing))
}

const SET_TYPING: &str = call!("matriarch.set_typing($1, $2, $3, $4, $5)");

#[derive(Deserialize)]
struct Typing {
    typing: bool,
    timeout: Option<i64>,
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/typing/{userId}`
async fn set_typing(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, user_id)): Path<(String, String)>,
    JsonBody(body): JsonBody<Typing>,
) -> Result<MatrixResponse, ApiError> {
    let timeout = body.timeout.unwrap_or(DEFAULT_TIMEOUT_MS);
    let response = app.call(SET_TYPING, &[&token.hash(), &room_id, &user_id, &body.typing, &timeout]).await?;
    if body.typing && response.status == StatusCode::OK {
        app.presence.is_active(token);
    }
    Ok(response)
}
