//! Invites by third-party id that become invites of users, when an identity server finds out whose the id is. Server-Server API,
//! "Third-party invites".

use axum::http::{Method, StatusCode};
use matriarch_rules::identifiers::server_name;
use matriarch_wire::{IdentityKey, ProvedInvite};
use serde_json::{Map, Value, json};

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::remote_invites;
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::{MatrixResponse, call};

/// Keys by which one proof is signed, of which each is asked for.
const MAX_KEYS: usize = 4;
/// Bytes: an empty object.
const MAX_ANSWER: usize = 64 * 1024;

const INVITE: &str = call!("matriarch.third_party_invite($1, $2, $3, $4)");

/// Makes the invite of a user of this server, or has the server of who invited make it; nothing, if the user has one, or is in the room.
///
/// `invite` has `room_id`, `sender` and `signed`, as an identity server tells it.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM`; 403 `M_FORBIDDEN` for what the room does not admit, and keys that are not valid any more; that a server
/// does not answer.
pub async fn accept(
    federation: &Federation,
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
    let answer = federation.call(INVITE, &[&None::<&str>, &room_id, &text, &false]).await?;
    if answer.status == StatusCode::CONFLICT {
        return Ok(());
    }
    if !answer.is_elsewhere() {
        check_keys(federation, &proved(answer)?.keys).await?;
        let answer = federation.call(INVITE, &[&None::<&str>, &room_id, &text, &true]).await?;
        return accepted(answer).map(|_| ()).map_err(FederationError::Internal);
    }
    if !federation.is_elsewhere(sender) {
        return Err(ApiError::not_found("This server is not in the room").into());
    }
    let request = Request {
        method: Method::PUT,
        destination: server_name(sender).unwrap_or_default(),
        path: &format!("/_matrix/federation/v1/exchange_third_party_invite/{}", encode(room_id)),
        body: Some(&event),
        max_answer: MAX_ANSWER,
        timeout: federation.http.timeout(),
    };
    federation.http.send(request).await.map(|_| ())
}

/// Makes the invite of `event`, a membership event that `origin`, the server of the user, wants: the user has the third-party id
/// that a user of this server invited.
///
/// # Errors
///
/// As those of [`accept`].
pub async fn exchange(
    federation: &Federation,
    origin: &str,
    room_id: &str,
    target: &str,
    event: &str,
) -> Result<MatrixResponse, ApiError> {
    let answer = federation.call(INVITE, &[&Some(origin), &room_id, &event, &false]).await?;
    match answer.status {
        StatusCode::OK => {}
        StatusCode::CONFLICT => return Ok(MatrixResponse { status: StatusCode::FORBIDDEN, ..answer }),
        _ => return Ok(answer),
    }
    let proved = proved(answer)?;
    check_keys(federation, &proved.keys).await.map_err(FederationError::for_client)?;
    let answer = remote_invites::send(federation, room_id, target, proved.prepared).await?;
    Ok(if answer.status.is_success() { MatrixResponse::of(json!({})) } else { answer })
}

fn accepted(answer: MatrixResponse) -> Result<MatrixResponse, ApiError> {
    match answer.status {
        StatusCode::OK => Ok(answer),
        _ => Err(ApiError::forbidden(format!("The invite is refused: {}", answer.body))),
    }
}

fn proved(answer: MatrixResponse) -> Result<ProvedInvite, ApiError> {
    accepted(answer)?.read()
}

/// Whether one of the keys is valid still, as whoever has it says. Only the server that lets a user in asks.
async fn check_keys(federation: &Federation, keys: &[IdentityKey]) -> Result<(), FederationError> {
    let mut refusal = ApiError::forbidden("The key of the identity server is not valid any more").into();
    for key in keys.iter().take(MAX_KEYS) {
        let Some(url) = key.key_validity_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(()) };
        let Ok(mut url) = reqwest::Url::parse(url) else { continue };
        url.query_pairs_mut().append_pair("public_key", &key.public_key);
        match federation.http.fetch(Method::GET, url.as_str(), None, None).await {
            Ok(answer) if answer.get("valid") == Some(&Value::Bool(true)) => return Ok(()),
            Ok(_) => {}
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
