//! The users whose devices have changed. Client-Server API, "Tracking the device list for a user".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Query};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/keys/changes", get(key_changes))
}

const KEY_CHANGES: &str = call!("matriarch.key_changes($1, $2, $3)");

#[derive(Deserialize)]
struct Interval {
    from: String,
    to: String,
}

/// `GET /_matrix/client/v3/keys/changes`
async fn key_changes(
    State(app): State<App>,
    token: AccessToken,
    Query(Interval { from, to }): Query<Interval>,
) -> Result<MatrixResponse, ApiError> {
    app.call(KEY_CHANGES, &[&token.hash(), &from, &to]).await
}
