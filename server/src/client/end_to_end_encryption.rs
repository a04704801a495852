//! End-to-end encryption: keys of devices and of users. Backups of room keys have a file of their own.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::uia::{self, BY_PASSWORD, Guard, Refusal};
use crate::accounts::session::Session;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::federation::end_to_end_keys;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Query, RawJsonBody};
use crate::state::AppState;

/// The endpoints of this file.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/keys/upload", post(upload_keys))
        .client_v3("/keys/upload/{device_id}", post(upload_keys))
        .client_v3("/keys/query", post(query_keys))
        .client_v3("/keys/claim", post(claim_keys))
        .client_v3("/keys/changes", get(key_changes))
        .client_v3("/keys/device_signing/upload", post(upload_cross_signing_keys))
        .client_unstable("/keys/device_signing/upload", post(upload_cross_signing_keys))
        .client_v3("/keys/signatures/upload", post(upload_signatures))
        .client_unstable("/keys/signatures/upload", post(upload_signatures))
}

const UPLOAD_KEYS: &str = "select status, body, wake_rooms, wake_users from matriarch.upload_keys($1, $2)";
const QUERY_KEYS: &str = "select status, body, wake_rooms, wake_users from matriarch.query_keys($1, $2, $3)";
const CLAIM_KEYS: &str = "select status, body, wake_rooms, wake_users from matriarch.claim_keys($1, $2)";
const KEY_CHANGES: &str =
    "select status, body, wake_rooms, wake_users from matriarch.key_changes($1, $2, $3)";
const UPLOAD_CROSS_SIGNING_KEYS: &str =
    "select status, body, wake_rooms, wake_users from matriarch.upload_cross_signing_keys($1, $2, $3)";
const UPLOAD_SIGNATURES: &str =
    "select status, body, wake_rooms, wake_users from matriarch.upload_signatures($1, $2)";

/// `POST /_matrix/client/v3/keys/upload`. Old clients name their device in the path; it is the token's all the same.
async fn upload_keys(
    State(app): State<AppState>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPLOAD_KEYS, &[&token.hash(), &body]).await
}

/// `POST /_matrix/client/v3/keys/query`. Users of other servers are asked for there first.
async fn query_keys(
    State(app): State<AppState>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let mut answered = Vec::new();
    if end_to_end_keys::concerns_other_servers(&app, &request, "device_keys") {
        Session::of(&app.db, &token).await?;
        answered = end_to_end_keys::fetch_keys(&app, &request).await?;
    }
    app.call(QUERY_KEYS, &[&token.hash(), &Value::Object(request).to_string(), &answered]).await
}

/// `POST /_matrix/client/v3/keys/claim`. Keys of other servers' users are claimed there afterwards.
async fn claim_keys(
    State(app): State<AppState>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let body = Value::Object(request.clone()).to_string();
    let mut response = app.call(CLAIM_KEYS, &[&token.hash(), &body]).await?;
    if response.status == StatusCode::OK
        && end_to_end_keys::concerns_other_servers(&app, &request, "one_time_keys")
        && let Ok(mut answer) = serde_json::from_str(&response.body)
    {
        end_to_end_keys::claim_elsewhere(&app, &request, &mut answer).await?;
        response.body = Value::Object(answer).to_string();
    }
    Ok(response)
}

#[derive(Deserialize)]
struct Interval {
    from: String,
    to: String,
}

/// `GET /_matrix/client/v3/keys/changes`
async fn key_changes(
    State(app): State<AppState>,
    token: AccessToken,
    Query(Interval { from, to }): Query<Interval>,
) -> Result<MatrixResponse, ApiError> {
    app.call(KEY_CHANGES, &[&token.hash(), &from, &to]).await
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
///
/// User-interactive authentication is asked for when other keys than the first are uploaded; otherwise `auth` is not
/// looked at.
async fn upload_cross_signing_keys(
    State(app): State<AppState>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, Refusal> {
    let mut keys = request.clone();
    keys.remove("auth");
    // A request that goes on with its authentication may leave out what the first one said.
    if (!keys.is_empty() || request.is_empty())
        && let Some(response) = upload(&app, token, keys, false).await?
    {
        return Ok(response.into_response());
    }
    let session = Session::of(&app.db, &token).await?;
    let operation = "POST /keys/device_signing/upload";
    let guard = Guard { operation, user: Some(&session), flows: BY_PASSWORD };
    let passed = uia::authorize(&app, &guard, request).await?;
    let response = upload(&app, token, passed.body, true).await?;
    Ok(response.ok_or_else(ApiError::internal)?.into_response())
}

/// `None` if the user must be authenticated first.
async fn upload(
    app: &AppState,
    token: AccessToken,
    keys: Map<String, Value>,
    authenticated: bool,
) -> Result<Option<MatrixResponse>, ApiError> {
    let keys = Value::Object(keys).to_string();
    let row = app.db.query_opt(UPLOAD_CROSS_SIGNING_KEYS, &[&token.hash(), &keys, &authenticated]).await?;
    let response = row.as_ref().map(MatrixResponse::from_row).transpose()?;
    if let Some(response) = &response {
        app.hub.wake(&response.wake_rooms, &response.wake_users);
    }
    Ok(response)
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
async fn upload_signatures(
    State(app): State<AppState>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPLOAD_SIGNATURES, &[&token.hash(), &body]).await
}
