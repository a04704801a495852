//! Cross-signing keys, and signatures by them. Client-Server API, "Cross-signing".

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Map, Value, json};

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::client::uia::{self, BY_PASSWORD, Guard, Refusal};
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/keys/device_signing/upload", post(upload_cross_signing_keys))
        .client_unstable("/keys/device_signing/upload", post(upload_cross_signing_keys))
        .client_v3("/keys/signatures/upload", post(upload_signatures))
        .client_unstable("/keys/signatures/upload", post(upload_signatures))
}

const UPLOAD_CROSS_SIGNING_KEYS: &str = call!("matriarch.upload_cross_signing_keys($1, $2, $3)");
const UPLOAD_SIGNATURES: &str = call!("matriarch.upload_signatures($1, $2)");

/// `POST /_matrix/client/v3/keys/device_signing/upload`
///
/// Needs user-interactive authentication if keys are replaced; otherwise ignores `auth`.
async fn upload_cross_signing_keys(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, Refusal> {
    let mut keys = request.clone();
    keys.remove("auth");
    // Later requests of an authentication may omit the keys that the first one contained.
    if (!keys.is_empty() || request.is_empty())
        && let Some(response) = upload(&app, token, keys, false).await?
    {
        return Ok(response.into_response());
    }
    let session = Session::of(&app.db, &token).await?;
    let operation = "POST /keys/device_signing/upload";
    let guard = Guard { operation, user: Some(&session), flows: BY_PASSWORD };
    let passed = uia::authorize(&app, &guard, request).await?;
    let response = upload(&app, token, passed.body, true).await?.ok_or_else(ApiError::internal)?;
    if response.status.is_success() {
        passed.finished.note(&app, &json!({})).await;
    }
    Ok(response.into_response())
}

/// Uploads the keys. `None` if the user must authenticate first.
async fn upload(
    app: &App,
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
    State(app): State<App>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPLOAD_SIGNATURES, &[&token.hash(), &body]).await
}
