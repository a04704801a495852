//! Client-Server API, "Account registration".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::login::{self, refuse_application_service};
use super::uia::{self, Done, Flows, Guard, Refusal, Stage};
use crate::accounts::create::{NewAccount, NewDevice, check_free, create};
use crate::accounts::tokens::{self, Grant};
use crate::accounts::{check_device, names, password};
use crate::app::App;
use crate::base::error::ApiError;
use crate::config::RegistrationMode;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Network, Query, json_response};

const OPEN: Flows = &[&[Stage::Dummy]];
const BY_TOKEN: Flows = &[&[Stage::RegistrationToken]];
/// The flows if there are documents to agree to.
const OPEN_WITH_TERMS: Flows = &[&[Stage::Terms]];
const BY_TOKEN_WITH_TERMS: Flows = &[&[Stage::RegistrationToken, Stage::Terms]];

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/register", post(register))
        .client_v3("/register/available", get(available))
        .client_v1("/register/m.login.registration_token/validity", get(token_validity))
        .client_unstable(
            "/org.matrix.msc3231/register/org.matrix.msc3231.login.registration_token/validity",
            get(token_validity),
        )
}

#[derive(Deserialize)]
struct RegisterQuery {
    kind: Option<String>,
}

/// The part of the body that is read after authentication, and checked before.
#[derive(Deserialize)]
struct RegisterBody {
    username: Option<String>,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    inhibit_login: Option<bool>,
    refresh_token: Option<bool>,
}

impl RegisterBody {
    fn read(object: &Map<String, Value>) -> Result<Self, ApiError> {
        let body: Self = serde_json::from_value(Value::Object(object.clone()))
            .map_err(|error| ApiError::bad_json(error.to_string()))?;
        check_device(body.device_id.as_deref(), body.initial_device_display_name.as_deref())?;
        Ok(body)
    }
}

/// `POST /_matrix/client/v3/register`
async fn register(
    State(app): State<App>,
    network: Network,
    token: Option<AccessToken>,
    Query(query): Query<RegisterQuery>,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, Refusal> {
    refuse_application_service(&request, token)?;
    match query.kind.as_deref() {
        None | Some("user") => {}
        Some("guest") => {
            let message = "This server has no guests";
            return Err(ApiError::new(StatusCode::FORBIDDEN, "M_GUEST_ACCESS_FORBIDDEN", message).into());
        }
        Some(_) => return Err(ApiError::invalid_param("kind must be user or guest").into()),
    }
    let flows = flows(&app)?;
    let guard = Guard { operation: "POST /register", user: None, flows };
    if let Some(done) = uia::done(&app, &guard, &request).await? {
        return Ok(answer_again(&app, network, done).await?);
    }
    app.rates.registration_attempt(network.0)?;
    // Refuse an unavailable name and a weak password before the user completes the stages.
    let wanted = RegisterBody::read(&request)?;
    if let Some(password) = &wanted.password {
        password::check_length(password, &app.config.registration)?;
    }
    if let Some(username) = wanted.username {
        let localpart = names::new_localpart(&username, &app.config.server_name)?;
        check_free(&app.db, &names::user_id(&localpart, &app.config.server_name)).await?;
    }
    let passed = uia::authorize(&app, &guard, request).await?;

    let body = RegisterBody::read(&passed.body)?;
    let localpart = match &body.username {
        Some(username) => names::new_localpart(username, &app.config.server_name)?,
        None => names::generated_localpart(),
    };
    let user_id = names::user_id(&localpart, &app.config.server_name);
    let password = body.password.ok_or_else(|| ApiError::missing_param("password"))?;
    password::check_length(&password, &app.config.registration)?;
    app.rates.registration(network.0)?;
    let password_hash = password::hash(&password, &network.to_string()).await?;
    let login = body.inhibit_login != Some(true);
    let device_id = body.device_id.filter(|id| !id.is_empty()).unwrap_or_else(tokens::device_id);
    let lifetime = app.config.tokens.lifetime(body.refresh_token == Some(true));
    let grant = Grant::new(lifetime);
    let account = NewAccount {
        user_id: &user_id,
        display_name: &localpart,
        password_hash: &password_hash,
        admin: false,
        registration_token: passed.registration_token.as_deref(),
        agreed_terms: passed.agreed_terms.as_ref(),
        device: login.then_some(NewDevice {
            device_id: &device_id,
            display_name: body.initial_device_display_name.as_deref(),
            grant: &grant,
        }),
    };
    create(&app.db, &account).await?;

    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), user_id.into());
    answer.insert("home_server".to_owned(), app.config.server_name.as_str().into());
    if login {
        answer.insert("device_id".to_owned(), device_id.into());
    }
    // The database has only hashes of tokens.
    passed.finished.note(&app, &Value::Object(answer.clone())).await;
    if login {
        grant.write(&mut answer);
    }
    Ok(json_response(StatusCode::OK, Value::Object(answer).to_string()))
}

/// Answers a client that lost the answer to its registration: with the same user and device, and with new
/// tokens. Tokens of the first answer stay valid, since that may have reached the client after all.
///
/// The password is checked, as at a login: it may have been changed, or the account deactivated.
async fn answer_again(app: &App, network: Network, done: Done) -> Result<Response, ApiError> {
    let body = RegisterBody::read(&done.body)?;
    let Value::Object(mut answer) = done.result else { return Err(ApiError::internal()) };
    if let (Some(user_id), Some(device_id)) = (text(&answer, "user_id"), text(&answer, "device_id")) {
        let password = body.password.unwrap_or_default();
        let account = login::authenticate(app, network, &user_id, &password).await?;
        let grant = Grant::new(app.config.tokens.lifetime(body.refresh_token == Some(true)));
        let granted = app
            .db
            .query_opt(
                include_str!("../accounts/register_again.sql"),
                &[
                    &account.user_nid,
                    &account.password_hash,
                    &device_id,
                    &body.initial_device_display_name,
                    &grant.access_hash(),
                    &grant.lifetime_seconds(),
                    &grant.refresh_hash(),
                ],
            )
            .await?;
        granted.ok_or_else(login::wrong)?;
        grant.write(&mut answer);
    }
    Ok(json_response(StatusCode::OK, Value::Object(answer).to_string()))
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// The flows that the configuration demands; 403 `M_FORBIDDEN` if registration is off.
fn flows(app: &App) -> Result<Flows, ApiError> {
    let registration = &app.config.registration;
    match (registration.mode(), registration.terms.is_empty()) {
        (RegistrationMode::Open, true) => Ok(OPEN),
        (RegistrationMode::Open, false) => Ok(OPEN_WITH_TERMS),
        (RegistrationMode::Token, true) => Ok(BY_TOKEN),
        (RegistrationMode::Token, false) => Ok(BY_TOKEN_WITH_TERMS),
        (RegistrationMode::Off | RegistrationMode::SharedSecret, _) => {
            Err(ApiError::forbidden("Registration is not enabled on this server"))
        }
    }
}

#[derive(Deserialize)]
struct AvailableQuery {
    username: String,
}

/// `GET /_matrix/client/v3/register/available`
async fn available(
    State(app): State<App>,
    network: Network,
    Query(query): Query<AvailableQuery>,
) -> Result<Response, ApiError> {
    flows(&app)?;
    app.rates.registration_attempt(network.0)?;
    let localpart = names::new_localpart(&query.username, &app.config.server_name)?;
    check_free(&app.db, &names::user_id(&localpart, &app.config.server_name)).await?;
    Ok(json_response(StatusCode::OK, json!({ "available": true }).to_string()))
}

#[derive(Deserialize)]
struct ValidityQuery {
    token: String,
}

/// `GET /_matrix/client/v1/register/m.login.registration_token/validity`
async fn token_validity(
    State(app): State<App>,
    network: Network,
    Query(query): Query<ValidityQuery>,
) -> Result<Response, ApiError> {
    flows(&app)?;
    app.rates.registration_attempt(network.0)?;
    let valid = uia::is_registration_token(&app, &query.token).await?;
    Ok(json_response(StatusCode::OK, json!({ "valid": valid }).to_string()))
}
