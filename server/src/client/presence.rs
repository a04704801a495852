//! Client-Server API, "Presence".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::calls::presence;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/presence/{user_id}/status", put(set_presence).get(presence))
}

const SET_PRESENCE: &str = call!("matriarch.set_presence($1, $2, $3, $4)");
const PRESENCE: &str = call!("matriarch.presence($1, $2)");
/// Used only to authenticate the user.
const WHOAMI: &str = call!("matriarch.whoami($1)");

#[derive(Deserialize)]
struct Status {
    presence: presence::State,
    status_msg: Option<String>,
}

/// `PUT /_matrix/client/v3/presence/{userId}/status`
///
/// Has no effect if presence is turned off.
async fn set_presence(
    State(app): State<App>,
    token: AccessToken,
    Path(user_id): Path<String>,
    JsonBody(Status { presence, status_msg }): JsonBody<Status>,
) -> Result<MatrixResponse, ApiError> {
    if !app.presence.is_enabled() {
        return answer(&app, token, "{}").await;
    }
    let response = app.call(SET_PRESENCE, &[&token.hash(), &user_id, &presence.as_str(), &status_msg]).await;
    app.presence.forget(&token);
    response
}

/// `GET /_matrix/client/v3/presence/{userId}/status`
async fn presence(
    State(app): State<App>,
    token: AccessToken,
    Path(user_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    if !app.presence.is_enabled() {
        return answer(&app, token, r#"{"presence":"offline"}"#).await;
    }
    app.call(PRESENCE, &[&token.hash(), &user_id]).await
}

/// Authenticates the user, and returns the answer for servers without presence.
async fn answer(app: &App, token: AccessToken, body: &str) -> Result<MatrixResponse, ApiError> {
    let response = app.call(WHOAMI, &[&token.hash()]).await?;
    Ok(match response.status {
        StatusCode::OK => MatrixResponse { body: body.to_owned(), ..response },
        _ => response,
    })
}
