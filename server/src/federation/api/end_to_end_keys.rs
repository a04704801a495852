//! Keys of local users, for other servers. Server-Server API, "End-to-End Encryption" and "Device
//! Management".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::Value;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::Path;

const QUERY_KEYS: &str = call!("matriarch.federation_query_keys($1)");
const CLAIM_KEYS: &str = call!("matriarch.federation_claim_keys($1)");
const USER_DEVICES: &str = call!("matriarch.federation_user_devices($1)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/user/keys/query", post(query_keys))
        .route("/_matrix/federation/v1/user/keys/claim", post(claim_keys))
        .route("/_matrix/federation/v1/user/devices/{user_id}", get(user_devices))
}

/// `POST /_matrix/federation/v1/user/keys/query`
async fn query_keys(State(app): State<App>, request: ServerRequest) -> Result<MatrixResponse, ApiError> {
    app.call(QUERY_KEYS, &[&Value::Object(request.content.object()).to_string()]).await
}

/// `POST /_matrix/federation/v1/user/keys/claim`
async fn claim_keys(State(app): State<App>, request: ServerRequest) -> Result<MatrixResponse, ApiError> {
    app.call(CLAIM_KEYS, &[&Value::Object(request.content.object()).to_string()]).await
}

/// `GET /_matrix/federation/v1/user/devices/{userId}`
async fn user_devices(
    State(app): State<App>,
    Path(user_id): Path<String>,
    _: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(USER_DEVICES, &[&user_id]).await
}
