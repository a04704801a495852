//! Turns third-party invites into invites of users, after an identity server reports the user of the
//! third-party id. Server-Server API, "Third-party invites".

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

/// The most keys of one proof that are checked.
const MAX_KEYS: usize = 4;
/// The longest answer that is read, in bytes. It is an empty object.
const MAX_ANSWER: usize = 64 * 1024;

const INVITE: &str = call!("matriarch.third_party_invite($1, $2, $3, $4)");

/// Appends the invite of a local user, or asks the inviter's server to do so. Does nothing if the user is
/// already invited or joined.
///
/// `invite` contains `room_id`, `sender` and `signed`, as the identity server sent them.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM`; 403 `M_FORBIDDEN` if the room does not allow the invite or the identity server's
/// keys are not valid any more; failures of the other server.
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

/// Appends the invite of `event`, a membership event that `origin`, the invited user's server, sent: the user
/// has the third-party id that a local user invited.
///
/// # Errors
///
/// As [`accept`].
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

/// Checks at the keys' validity URLs that one of them is still valid. Only the server that appends the invite
/// checks.
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
