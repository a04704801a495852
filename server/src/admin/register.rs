//! Registration by a shared secret, with the path and the form that tools for Synapse use.

#[cfg(test)]
mod tests;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha1::Sha1;

use crate::accounts::create::{NewAccount, NewDevice, create};
use crate::accounts::password;
use crate::accounts::tokens::{self, Grant};
use crate::accounts::{names, nonce};
use crate::app::App;
use crate::base::error::ApiError;
use crate::config::Secret;
use crate::http::{JsonBody, json_response};

/// Who waits for a password to be hashed.
const SHARED_SECRET: &str = "shared secret";

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_synapse/admin/v1/register", get(new_nonce).post(register))
}

#[derive(Deserialize)]
struct RegisterBody {
    nonce: String,
    username: String,
    password: String,
    #[serde(default)]
    admin: bool,
    /// Signed, and otherwise ignored, since all accounts are of one type.
    user_type: Option<String>,
    displayname: Option<String>,
    mac: String,
}

/// `GET /_synapse/admin/v1/register`
async fn new_nonce(State(app): State<App>) -> Result<Response, ApiError> {
    let nonce = nonce::new(secret(&app)?);
    Ok(json_response(StatusCode::OK, json!({ "nonce": nonce }).to_string()))
}

/// `POST /_synapse/admin/v1/register`
///
/// `mac` is the HMAC-SHA1 by the shared secret, in hexadecimal, over nonce, user name, password, `admin` or
/// `notadmin`, and the user type if there is one, with NUL between them.
async fn register(
    State(app): State<App>,
    JsonBody(body): JsonBody<RegisterBody>,
) -> Result<Response, ApiError> {
    let secret = secret(&app)?;
    let refuse = |status, message: &'static str| ApiError::new(status, "M_UNKNOWN", message);
    let localpart = names::new_localpart(&body.username, &app.config.server_name)?;
    check_fields(&body)?;
    if !nonce::is_good(secret, &body.nonce) {
        return Err(refuse(StatusCode::BAD_REQUEST, "The nonce is unknown or has expired"));
    }
    if !is_signed(secret, &body) {
        return Err(refuse(StatusCode::FORBIDDEN, "The HMAC is wrong"));
    }
    if !nonce::take(&app.db, &body.nonce).await? {
        return Err(refuse(StatusCode::BAD_REQUEST, "The nonce has been used"));
    }

    let user_id = names::user_id(&localpart, &app.config.server_name);
    let password_hash = password::hash(&body.password, SHARED_SECRET).await?;
    let device_id = tokens::device_id();
    let grant = Grant::new(None);
    let account = NewAccount {
        user_id: &user_id,
        display_name: body.displayname.as_deref().unwrap_or(&localpart),
        password_hash: &password_hash,
        admin: body.admin,
        registration_token: None,
        agreed_terms: None,
        device: Some(NewDevice { device_id: &device_id, display_name: None, grant: &grant }),
    };
    create(&app.db, &account).await?;

    let mut answer = Map::new();
    answer.insert("user_id".to_owned(), user_id.into());
    answer.insert("home_server".to_owned(), app.config.server_name.as_str().into());
    answer.insert("device_id".to_owned(), device_id.into());
    grant.write(&mut answer);
    Ok(json_response(StatusCode::OK, Value::Object(answer).to_string()))
}

fn secret(app: &App) -> Result<&str, ApiError> {
    app.config.registration.shared_secret.as_ref().map(Secret::reveal).ok_or_else(|| {
        ApiError::new(StatusCode::BAD_REQUEST, "M_UNKNOWN", "Registration by shared secret is not enabled")
    })
}

/// NUL separates the fields that the HMAC signs. If a field could have one, an HMAC over some fields would
/// also be good for others, such as an administrator's. The grammars of nonces and user names have none.
fn check_fields(body: &RegisterBody) -> Result<(), ApiError> {
    let fields = [("password", Some(&body.password)), ("user_type", body.user_type.as_ref())];
    match fields.iter().find(|(_, field)| field.is_some_and(|field| field.contains('\0'))) {
        Some((name, _)) => Err(ApiError::invalid_param(format!("{name} holds a NUL character"))),
        None => Ok(()),
    }
}

/// Compares the HMAC in constant time.
fn is_signed(secret: &str, body: &RegisterBody) -> bool {
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return false };
    let admin = if body.admin { "admin" } else { "notadmin" };
    let mut parts = vec![body.nonce.as_str(), &body.username, &body.password, admin];
    parts.extend(body.user_type.as_deref());
    mac.update(parts.join("\0").as_bytes());
    unhex(&body.mac).is_some_and(|claimed| mac.verify_slice(&claimed).is_ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}
