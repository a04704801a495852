//! Client-Server API, "Login".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::identifier::Identifier;
use crate::accounts::password;
use crate::accounts::tokens::{self, Grant};
use crate::accounts::{check_device, names};
use crate::app::App;
use crate::base::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Network, json_response};

const PASSWORD: &str = "m.login.password";
const APPLICATION_SERVICE: &str = "m.login.application_service";

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/login", get(flows).post(login))
}

/// `GET /_matrix/client/v3/login`
async fn flows() -> Response {
    json_response(StatusCode::OK, json!({ "flows": [{ "type": PASSWORD }] }).to_string())
}

#[derive(Deserialize)]
struct LoginBody {
    #[serde(rename = "type")]
    kind: String,
    password: Option<String>,
    device_id: Option<String>,
    initial_device_display_name: Option<String>,
    refresh_token: Option<bool>,
}

/// `POST /_matrix/client/v3/login`
async fn login(
    State(app): State<App>,
    network: Network,
    token: Option<AccessToken>,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<Response, ApiError> {
    refuse_application_service(&request, token)?;
    let identifier = Identifier::of(&request)?;
    let body: LoginBody = crate::http::from_object(request)?;
    if body.kind != PASSWORD {
        return Err(ApiError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", "Unknown type of login"));
    }
    check_device(body.device_id.as_deref(), body.initial_device_display_name.as_deref())?;
    let password = body.password.ok_or_else(|| ApiError::missing_param("password"))?;
    let user = match identifier {
        Identifier::User(user) => user,
        Identifier::ThirdParty => return Err(wrong()),
        Identifier::Absent => return Err(ApiError::missing_param("identifier")),
    };
    let account = authenticate(&app, network, &user, &password).await?;

    let device_id = body.device_id.filter(|id| !id.is_empty()).unwrap_or_else(tokens::device_id);
    let grant = Grant::new(app.config.tokens.lifetime(body.refresh_token == Some(true)));
    let device = app
        .db
        .query_opt(
            include_str!("../accounts/login.sql"),
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
    let device = device.ok_or_else(wrong)?;
    if device.get("is_full") {
        return Err(ApiError::forbidden("You have too many devices: log out of some"));
    }
    if device.get::<_, Option<i64>>("device_nid").is_none() {
        return Err(ApiError::invalid_param(
            "device_id is a cross-signing key's, or the dehydrated device's",
        ));
    }
    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), account.user_id.into());
    answer.insert("home_server".to_owned(), app.config.server_name.as_str().into());
    answer.insert("device_id".to_owned(), device_id.into());
    grant.write(&mut answer);
    if let Some(base_url) = &app.config.public_base_url {
        answer.insert("well_known".to_owned(), json!({ "m.homeserver": { "base_url": base_url } }));
    }
    Ok(json_response(StatusCode::OK, Value::Object(answer).to_string()))
}

/// Refuses a request of an application service, to log in or to register a user: this server knows none, so
/// every token is 401 `M_UNKNOWN_TOKEN`.
pub fn refuse_application_service(
    request: &Map<String, Value>,
    token: Option<AccessToken>,
) -> Result<(), ApiError> {
    if request.get("type").and_then(Value::as_str) != Some(APPLICATION_SERVICE) {
        return Ok(());
    }
    token.ok_or_else(ApiError::missing_token)?;
    let message = "The access token is not that of an application service";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "M_UNKNOWN_TOKEN", message))
}

/// An account whose password was checked.
pub struct Account {
    pub user_nid: i64,
    user_id: String,
    pub password_hash: String,
}

/// Finds the account that `user` names and checks its password.
///
/// A wrong password and an unknown user get the same answer after the same time. 403 `M_USER_DEACTIVATED` is
/// returned only with the right password of a deactivated account.
pub async fn authenticate(
    app: &App,
    network: Network,
    user: &str,
    password: &str,
) -> Result<Account, ApiError> {
    let candidates = names::login_candidates(user, &app.config.server_name);
    let row = match &candidates {
        Some([exact, folded]) => {
            let sql = include_str!("../accounts/find_for_login.sql");
            app.db.query_opt(sql, &[exact, folded, &network.to_string()]).await?
        }
        None => None,
    };
    let is_seen_here = row.as_ref().is_some_and(|row| row.get("seen_here"));
    let named = candidates.as_ref().filter(|_| !is_seen_here).map(|[_, folded]| folded.as_str());
    let attempt = app.rates.password(Some(network.0), named)?;
    let hash: Option<String> = row.as_ref().and_then(|row| row.get("password_hash"));
    let matches = password::verify(password, hash.as_deref(), &network.to_string()).await?;
    let (Some(row), Some(password_hash), true) = (row, hash, matches) else { return Err(wrong()) };
    attempt.was_right();
    if row.get("deactivated") {
        let message = "This account has been deactivated";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "M_USER_DEACTIVATED", message));
    }
    Ok(Account { user_nid: row.get("user_nid"), user_id: row.get("user_id"), password_hash })
}

/// 403 `M_FORBIDDEN`
pub fn wrong() -> ApiError {
    ApiError::forbidden("Wrong user or password")
}
