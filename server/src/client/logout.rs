//! Client-Server API, "Logout".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;

use crate::accounts::room_nids;
use crate::accounts::session::{expired_token, unknown_token};
use crate::app::App;
use crate::base::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, json_response};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/logout", post(logout)).client_v3("/logout/all", post(logout_all))
}

/// `POST /_matrix/client/v3/logout`. Deletes the device, with its tokens. Ignores the body.
async fn logout(State(app): State<App>, token: AccessToken) -> Result<Response, ApiError> {
    run(&app, include_str!("../accounts/logout.sql"), &token).await
}

/// `POST /_matrix/client/v3/logout/all`. Deletes all the user's devices.
async fn logout_all(State(app): State<App>, token: AccessToken) -> Result<Response, ApiError> {
    run(&app, include_str!("../accounts/logout_all.sql"), &token).await
}

async fn run(app: &App, sql: &'static str, token: &AccessToken) -> Result<Response, ApiError> {
    let rows = app.db.query(sql, &[&token.hash()]).await?;
    match rows.first() {
        None => Err(unknown_token()),
        Some(row) if row.get("expired") => Err(expired_token()),
        Some(row) => {
            // Waiting syncs run again, and those of the deleted devices fail.
            app.hub.wake(&room_nids(&rows), &[row.get("user_nid")]);
            Ok(json_response(StatusCode::OK, "{}".to_owned()))
        }
    }
}
