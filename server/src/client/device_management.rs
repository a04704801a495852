//! Client-Server API, "Device Management".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde_json::{Map, Value, json};

use super::uia::{self, BY_PASSWORD, Guard, Refusal};
use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, JsonBodyOrEmpty, Path, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/devices", get(devices))
        .client_v3("/devices/{device_id}", get(device).put(rename_device).delete(delete_device))
        .client_v3("/delete_devices", post(delete_devices))
}

const DEVICES: &str = call!("matriarch.devices($1)");
const DEVICE: &str = call!("matriarch.device($1, $2)");
const RENAME: &str = call!("matriarch.rename_device($1, $2, $3)");
const DELETE: &str = call!("matriarch.delete_devices($1, $2)");

/// `GET /_matrix/client/v3/devices`
async fn devices(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(DEVICES, &[&token.hash()]).await
}

/// `GET /_matrix/client/v3/devices/{deviceId}`
async fn device(
    State(app): State<App>,
    token: AccessToken,
    Path(device_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DEVICE, &[&token.hash(), &device_id]).await
}

/// `PUT /_matrix/client/v3/devices/{deviceId}`
async fn rename_device(
    State(app): State<App>,
    token: AccessToken,
    Path(device_id): Path<String>,
    RawJsonBody(request): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(RENAME, &[&token.hash(), &device_id, &request]).await
}

/// `DELETE /_matrix/client/v3/devices/{deviceId}`. Deletes a device by way of [`delete_devices`], so that the
/// authentication is bound to this device.
async fn delete_device(
    State(app): State<App>,
    token: AccessToken,
    Path(device_id): Path<String>,
    JsonBodyOrEmpty(mut request): JsonBodyOrEmpty<Map<String, Value>>,
) -> Result<MatrixResponse, Refusal> {
    request.insert("devices".to_owned(), json!([device_id]));
    delete(&app, &token, "DELETE /devices/{deviceId}", request).await
}

/// `POST /_matrix/client/v3/delete_devices`
async fn delete_devices(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, Refusal> {
    delete(&app, &token, "POST /delete_devices", request).await
}

async fn delete(
    app: &App,
    token: &AccessToken,
    operation: &'static str,
    request: Map<String, Value>,
) -> Result<MatrixResponse, Refusal> {
    let session = Session::of(&app.db, token).await?;
    let guard = Guard { operation, user: Some(&session), flows: BY_PASSWORD };
    let passed = uia::authorize(app, &guard, request).await?;
    let request = Value::Object(passed.body).to_string();
    let answer = app.call(DELETE, &[&token.hash(), &request]).await?;
    if answer.status.is_success() {
        passed.finished.note(app, &json!({})).await;
    }
    Ok(answer)
}
