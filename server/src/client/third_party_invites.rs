//! Client-Server API, "Third-party invites": users are invited by e-mail address, through an identity server.

use axum::http::{Method, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use matriarch_rules::identifiers::{is_server_name, is_user_id};
use matriarch_rules::third_party_id::canonical_email;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::send;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::http_client::{Answer, FederationError};
use crate::federation::{queries, third_party_invites};
use crate::http::AccessToken;

const BEGIN: &str = call!("matriarch.begin_third_party_invite($1, $2)");

/// The third-party id to invite, and the identity server to ask.
#[derive(Debug, Deserialize)]
pub struct ThirdPartyId {
    id_server: String,
    id_access_token: String,
    medium: String,
    address: String,
}

impl ThirdPartyId {
    /// Reads a request.
    pub fn of(request: &Map<String, Value>) -> Result<Self, ApiError> {
        let text = |key: &str| match request.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(_) => Err(ApiError::bad_json(format!("`{key}` must be a string"))),
            None => Err(ApiError::missing_param(key)),
        };
        Ok(Self {
            id_server: text("id_server")?,
            id_access_token: text("id_access_token")?,
            medium: text("medium")?,
            address: text("address")?,
        })
    }
}

/// The result of an invite by third-party id.
pub enum Invited {
    /// The address belongs to this user, who must be invited by user id.
    User(String),
    /// A third-party invite was sent, or the request was refused.
    Answered(MatrixResponse),
}

/// Invites the owner of a third-party id.
///
/// # Errors
///
/// 403 `M_SERVER_NOT_TRUSTED` for an identity server that the configuration does not list; refusals of the
/// identity server.
pub async fn invite(
    app: &App,
    token: AccessToken,
    room_id: &str,
    id: ThirdPartyId,
) -> Result<Invited, ApiError> {
    if !app.config.identity.admits(&id.id_server) {
        let error = "This server does not ask that identity server, so it cannot invite by third-party id";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "M_SERVER_NOT_TRUSTED", error));
    }
    if !is_server_name(&id.id_server) {
        return Err(ApiError::invalid_param("`id_server` must be a host name"));
    }
    let begun = app.call(BEGIN, &[&token.hash(), &room_id]).await?;
    if begun.status != StatusCode::OK {
        return Ok(Invited::Answered(begun));
    }
    let address = if id.medium == "email" { canonical_email(&id.address) } else { id.address.clone() };
    let server = IdentityServer { app, id: &id, address: &address };
    if let Some(user_id) = server.lookup().await.map_err(FederationError::for_client)? {
        return Ok(Invited::User(user_id));
    }
    let told = serde_json::from_str(&begun.body).map_err(|_| ApiError::internal())?;
    let stored = server.store_invite(told).await.map_err(FederationError::for_client)?;
    let answer = send::set_third_party_invite(app, token, room_id, stored.token, stored.content).await?;
    Ok(Invited::Answered(match answer.status {
        StatusCode::OK => MatrixResponse { body: "{}".to_owned(), ..answer },
        _ => answer,
    }))
}

/// Turns a third-party invite into an invite of the user whom the identity server names in `signed`. Does
/// nothing if the user is already invited or joined.
///
/// # Errors
///
/// As [`third_party_invites::accept`], and those of finding the room.
pub async fn accept(app: &App, user_id: &str, room: &str, signed: Value) -> Result<(), ApiError> {
    let (room_id, _) = queries::find_room(&app.federation, room).await?;
    let invite = json!({ "room_id": room_id, "sender": signed.get("sender"), "signed": signed });
    let invite = invite.as_object().cloned().unwrap_or_default();
    third_party_invites::accept(&app.federation, user_id, &invite).await.map_err(FederationError::for_client)
}

/// An identity server, asked on behalf of a user about one address. Identity Service API.
struct IdentityServer<'i> {
    app: &'i App,
    id: &'i ThirdPartyId,
    address: &'i str,
}

/// An invite that the identity server stores until a user proves to own the address.
struct Stored {
    token: String,
    /// The `state_key` of the `m.room.third_party_invite` event.
    content: Value,
}

impl IdentityServer<'_> {
    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, FederationError> {
        let url = format!("https://{}/_matrix/identity/v2/{path}", self.id.id_server);
        let bearer = Some(self.id.id_access_token.as_str());
        self.app.federation.http.fetch(method, &url, body, bearer).await
    }

    fn bad(&self, reason: &str) -> FederationError {
        FederationError::bad_answer(&self.id.id_server, reason)
    }

    /// The user that the identity server has for the address, if any.
    async fn lookup(&self) -> Result<Option<String>, FederationError> {
        let details = self.ask(Method::GET, "hash_details", None).await?;
        let pepper = details.get("lookup_pepper").and_then(Value::as_str);
        let pepper = pepper.ok_or_else(|| self.bad("it has no pepper"))?;
        let algorithms = details.get("algorithms").and_then(Value::as_array);
        if !algorithms.is_some_and(|algorithms| algorithms.iter().any(|name| name == "sha256")) {
            return Err(self.bad("it does not support sha256"));
        }
        let hashed = Sha256::digest(format!("{} {} {pepper}", self.address, self.id.medium));
        let hashed = URL_SAFE_NO_PAD.encode(hashed);
        let body = json!({ "algorithm": "sha256", "pepper": pepper, "addresses": [hashed] });
        let found = self.ask(Method::POST, "lookup", Some(&body)).await?;
        let user_id = found.get("mappings").and_then(|mappings| mappings.get(&hashed)?.as_str());
        Ok(user_id.filter(|user_id| is_user_id(user_id)).map(str::to_owned))
    }

    /// Has the identity server store the invite. `told` describes the room, for the e-mail to the invited
    /// user.
    async fn store_invite(&self, mut told: Map<String, Value>) -> Result<Stored, FederationError> {
        told.insert("medium".to_owned(), self.id.medium.as_str().into());
        told.insert("address".to_owned(), self.address.into());
        let mut stored = self.ask(Method::POST, "store-invite", Some(&Value::Object(told))).await?;
        let is_token = |token: &str| {
            (1..=255).contains(&token.len())
                && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".=_-".contains(&byte))
        };
        let token = stored.get("token").and_then(Value::as_str).filter(|token| is_token(token));
        let token = token.ok_or_else(|| self.bad("it has no token"))?.to_owned();
        let keys = stored.remove("public_keys").unwrap_or_default();
        let first = keys.get(0).cloned().unwrap_or_default();
        if !first.get("public_key").is_some_and(Value::is_string) {
            return Err(self.bad("it has no public key"));
        }
        let content = json!({
            "display_name": stored.get("display_name").and_then(Value::as_str).unwrap_or_default(),
            "key_validity_url": first.get("key_validity_url").and_then(Value::as_str).unwrap_or_default(),
            "public_key": first["public_key"],
            "public_keys": keys,
        });
        Ok(Stored { token, content })
    }
}
