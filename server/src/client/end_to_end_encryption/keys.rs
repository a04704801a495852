//! Device keys and one-time keys. Client-Server API, "Key management API".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use serde_json::{Map, Value};

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::end_to_end_keys;
use crate::http::{AccessToken, ClientRoutes, JsonBody, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/keys/upload", post(upload_keys))
        .client_v3("/keys/upload/{device_id}", post(upload_keys))
        .client_v3("/keys/query", post(query_keys))
        .client_v3("/keys/claim", post(claim_keys))
}

const UPLOAD_KEYS: &str = call!("matriarch.upload_keys($1, $2)");
const QUERY_KEYS: &str = call!("matriarch.query_keys($1, $2, $3)");
const CLAIM_KEYS: &str = call!("matriarch.claim_keys($1, $2)");

/// `POST /_matrix/client/v3/keys/upload`. Old clients name their device in the path; it is ignored in favor
/// of the token's device.
async fn upload_keys(
    State(app): State<App>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPLOAD_KEYS, &[&token.hash(), &body]).await
}

/// `POST /_matrix/client/v3/keys/query`. Asks the servers of remote users first whose device lists are not
/// current here.
async fn query_keys(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let mut answered = Vec::new();
    if end_to_end_keys::concerns_other_servers(&app.federation, &request, "device_keys") {
        Session::of(&app.db, &token).await?;
        answered = end_to_end_keys::fetch_keys(&app.federation, &request).await?;
    }
    app.call(QUERY_KEYS, &[&token.hash(), &Value::Object(request).to_string(), &answered]).await
}

/// `POST /_matrix/client/v3/keys/claim`. Claims the keys of remote users from their servers afterwards.
async fn claim_keys(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let body = Value::Object(request.clone()).to_string();
    let mut response = app.call(CLAIM_KEYS, &[&token.hash(), &body]).await?;
    if response.status == StatusCode::OK
        && end_to_end_keys::concerns_other_servers(&app.federation, &request, "one_time_keys")
        && let Ok(mut answer) = serde_json::from_str(&response.body)
    {
        end_to_end_keys::claim_remote(&app.federation, &request, &mut answer).await?;
        response.body = Value::Object(answer).to_string();
    }
    Ok(response)
}
