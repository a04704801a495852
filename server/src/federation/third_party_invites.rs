//! Invites by third-party id that become invites of users, when an identity server finds out whose the id is. Server-Server API,
//! "Third-party invites".

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode};
use axum::routing::put;
use futures_util::future::join_all;
use matriarch_rules::identifiers::server_name;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::info;

use super::authentication::ServerRequest;
use super::client::{FederationError, Request};
use super::inviting::{self, Prepared};
use super::membership::encode;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{JsonBody, Path};
use crate::state::AppState;

/// Invites of one address. More than anybody has waiting.
const MAX_INVITES: usize = 50;
/// Keys by which one proof is signed, of which each is asked for.
const MAX_KEYS: usize = 4;
/// Bytes: an empty object.
const MAX_ANSWER: usize = 64 * 1024;

const INVITE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.third_party_invite($1, $2, $3, $4)";

/// The routes of this module. The Identity Service API says POST where the Server-Server API says PUT.
pub fn routes() -> Router<AppState> {
    Router::new()
        .route("/_matrix/federation/v1/3pid/onbind", put(on_bind).post(on_bind))
        .route("/_matrix/federation/v1/exchange_third_party_invite/{room_id}", put(exchange))
}

/// An invite that is not appended yet, and the keys that its proof is signed by.
#[derive(Deserialize)]
struct Proved {
    #[serde(flatten)]
    prepared: Prepared,
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    public_key: String,
    key_validity_url: Option<String>,
}

#[derive(Deserialize)]
struct Binding {
    mxid: String,
    invites: Vec<Map<String, Value>>,
}

/// `PUT /_matrix/federation/v1/3pid/onbind`: an identity server has found out whose a third-party id is.
///
/// Anybody may say so: what proves it is what the identity server signed, by the keys in the rooms.
async fn on_bind(
    State(app): State<AppState>,
    JsonBody(Binding { mxid, invites }): JsonBody<Binding>,
) -> Result<MatrixResponse, ApiError> {
    if invites.len() > MAX_INVITES {
        return Err(ApiError::invalid_param("There are too many invites"));
    }
    if server_name(&mxid) != Some(&app.config.server_name) {
        return Err(ApiError::invalid_param("The user is not of this server"));
    }
    let taken = join_all(invites.iter().map(|invite| accept(&app, &mxid, invite))).await;
    for error in taken.into_iter().filter_map(Result::err) {
        // Others are no worse for it.
        info!(user = mxid, %error, "an invite by third-party id came to nothing");
    }
    Ok(MatrixResponse::of(json!({})))
}

/// Makes the invite of a user of this server, or has the server of who invited make it; nothing, if the user has one, or is in the room.
///
/// `invite` has `room_id`, `sender` and `signed`, as an identity server tells it.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM`; 403 `M_FORBIDDEN` for what the room does not admit, and keys that are not valid any more; that a server
/// does not answer.
pub async fn accept(
    app: &AppState,
    user_id: &str,
    invite: &Map<String, Value>,
) -> Result<(), FederationError> {
    let text = |key: &str| {
        let text = invite.get(key).and_then(Value::as_str).filter(|text| !text.contains('\0'));
        text.ok_or_else(|| ApiError::invalid_param(format!("`{key}` is missing")))
    };
    let (room_id, sender) = (text("room_id")?, text("sender")?);
    let event = json!({
        "type": "m.room.member",
        "room_id": room_id,
        "sender": sender,
        "state_key": user_id,
        "content": {
            "membership": "invite",
            "third_party_invite": { "display_name": "", "signed": invite.get("signed") },
        },
    });
    let text = event.to_string();
    let answer = app.call(INVITE, &[&None::<&str>, &room_id, &text, &false]).await?;
    if answer.status == StatusCode::CONFLICT {
        return Ok(());
    }
    if !answer.elsewhere {
        check_keys(app, &proved(answer)?.keys).await?;
        let answer = app.call(INVITE, &[&None::<&str>, &room_id, &text, &true]).await?;
        return accepted(answer).map(|_| ()).map_err(FederationError::Internal);
    }
    if !app.is_elsewhere(sender) {
        return Err(ApiError::not_found("This server is not in the room").into());
    }
    let request = Request {
        method: Method::PUT,
        destination: server_name(sender).unwrap_or_default(),
        path: &format!("/_matrix/federation/v1/exchange_third_party_invite/{}", encode(room_id)),
        body: Some(&event),
        max_answer: MAX_ANSWER,
        timeout: app.federation.client.timeout(),
    };
    app.federation.client.send(&app.db, request).await.map(|_| ())
}

/// `PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}`: a user of the server that asks has the third-party id that a
/// user of this one invited.
async fn exchange(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
    ServerRequest { origin, content }: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let target = content.get("state_key").and_then(Value::as_str).unwrap_or_default().to_owned();
    let event = Value::Object(content).to_string();
    let answer = app.call(INVITE, &[&Some(&origin), &room_id, &event, &false]).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::CONFLICT => return Ok(MatrixResponse { status: StatusCode::FORBIDDEN, ..answer }),
        _ => return Ok(answer),
    }
    let proved = proved(answer)?;
    check_keys(&app, &proved.keys).await.map_err(FederationError::for_client)?;
    let answer = inviting::send(&app, &room_id, &target, proved.prepared).await?;
    Ok(if answer.status.is_success() { MatrixResponse::of(json!({})) } else { answer })
}

fn accepted(answer: MatrixResponse) -> Result<MatrixResponse, ApiError> {
    match answer.status {
        StatusCode::OK => Ok(answer),
        _ => Err(ApiError::forbidden(format!("The invite is refused: {}", answer.body))),
    }
}

fn proved(answer: MatrixResponse) -> Result<Proved, ApiError> {
    serde_json::from_str(&accepted(answer)?.body).map_err(|_| ApiError::internal())
}

/// Whether one of the keys is valid still, as whoever has it says. Only the server that lets a user in asks.
async fn check_keys(app: &AppState, keys: &[Key]) -> Result<(), FederationError> {
    let mut refusal = ApiError::forbidden("The key of the identity server is not valid any more").into();
    for key in keys.iter().take(MAX_KEYS) {
        let Some(url) = key.key_validity_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(()) };
        let Ok(mut url) = reqwest::Url::parse(url) else { continue };
        url.query_pairs_mut().append_pair("public_key", &key.public_key);
        match app.federation.client.fetch(Method::GET, url.as_str(), None, None).await {
            Ok(answer) if answer.get("valid") == Some(&Value::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
