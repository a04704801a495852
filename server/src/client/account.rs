//! Client-Server API, "Account management": `whoami`, changing the password, deactivation.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::uia::{self, BY_PASSWORD, Guard, Refusal};
use crate::accounts::deactivate::deactivate;
use crate::accounts::password::check_length;
use crate::accounts::session::Session;
use crate::accounts::set_password;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, JsonBody, from_object, json_response};

const WHOAMI: &str = call!("matriarch.whoami($1)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/account/whoami", get(whoami))
        .client_v3("/account/password", post(password))
        .client_v3("/account/deactivate", post(deactivate_account))
}

/// `GET /_matrix/client/v3/account/whoami`
async fn whoami(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(WHOAMI, &[&token.hash()]).await
}

#[derive(Deserialize)]
struct PasswordBody {
    new_password: String,
    logout_devices: Option<bool>,
}

/// `POST /_matrix/client/v3/account/password`
///
/// Needs an access token: this server has no reset by e-mail or phone.
async fn password(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, Refusal> {
    let session = Session::of(&app.db, &token).await?;
    let guard = Guard { operation: "POST /account/password", user: Some(&session), flows: BY_PASSWORD };
    let passed = uia::authorize(&app, &guard, request).await?;
    let body: PasswordBody = from_object(passed.body)?;
    check_length(&body.new_password, &app.config.registration)?;
    let logout_devices = body.logout_devices != Some(false);
    let keep = Some(session.device_nid);
    if !set_password(&app.db, &app.hub, session.user_nid, &body.new_password, logout_devices, keep).await? {
        return Err(ApiError::forbidden("This account has been deactivated").into());
    }
    passed.finished.note(&app, &json!({})).await;
    Ok(json_response(StatusCode::OK, "{}".to_owned()))
}

#[derive(Deserialize)]
struct DeactivateBody {
    erase: Option<bool>,
}

/// `POST /_matrix/client/v3/account/deactivate`
async fn deactivate_account(
    State(app): State<App>,
    token: AccessToken,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, Refusal> {
    let session = Session::of(&app.db, &token).await?;
    let guard = Guard { operation: "POST /account/deactivate", user: Some(&session), flows: BY_PASSWORD };
    let passed = uia::authorize(&app, &guard, request).await?;
    let body: DeactivateBody = from_object(passed.body)?;
    deactivate(&app.db, &app.hub, Some(&app.federation), session.user_nid, &token, body.erase == Some(true))
        .await?;
    // No third-party ids are bound here.
    Ok(json_response(StatusCode::OK, json!({ "id_server_unbind_result": "success" }).to_string()))
}
