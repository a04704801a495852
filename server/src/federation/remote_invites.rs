//! Invites remote users; their server signs the invite too. Server-Server API, "Inviting to a room".

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::server_name;
use matriarch_wire::{PreparedInvite, Verdict};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{Instrument, info, warn};

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::intake;
use super::intake::batch::{Batch, Kind};
use super::policy_servers;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::{MatrixResponse, call};

/// The longest answer that is read, in bytes. It contains one event.
const MAX_ANSWER: usize = 256 * 1024;

const PREPARE: &str = call!("matriarch.prepare_invite($1, $2, $3, $4)");

/// How many users of a new room are invited at the same time.
const CONCURRENCY: usize = 8;
/// The pauses before further attempts to invite a user whose server cannot be reached.
const PAUSES: [Duration; 5] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(3600),
];
/// Permits of this node to wait for another attempt.
static WAITING: Semaphore = Semaphore::const_new(1000);

/// Invites remote users into a room that was just created. A refused invite is only logged: the room exists,
/// and its creator sees who is missing. If a server cannot be reached, this node goes on trying for more than
/// an hour after the answer.
pub async fn invite_all(
    federation: &Federation,
    token: &AccessToken,
    room_id: &str,
    user_ids: &[String],
    content: &Value,
) {
    let invite = |user_id: &String| {
        let (user_id, content) = (user_id.clone(), content.to_string());
        async move {
            match invite(federation, token, room_id, &user_id, &content).await {
                Ok(answer) if answer.status.is_success() => {}
                Ok(answer) => warn!(room_id, user_id, answer = answer.body, "a user was not invited"),
                Err(error) => {
                    warn!(room_id, user_id, error = %error.message, "a user was not invited");
                    if may_pass(&error) {
                        let (federation, token) = (federation.clone(), *token);
                        let room_id = room_id.to_owned();
                        let again = async move {
                            invite_later(&federation, &token, &room_id, &user_id, &content).await
                        };
                        tokio::spawn(again.in_current_span());
                    }
                }
            }
        }
    };
    stream::iter(user_ids).map(invite).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

/// Whether another attempt may succeed.
fn may_pass(error: &ApiError) -> bool {
    error.status.is_server_error() || error.status == StatusCode::TOO_MANY_REQUESTS
}

/// Tries again to invite a user. Ends when the invite was sent or refused, also because the session has ended
/// or the user is in the room.
async fn invite_later(
    federation: &Federation,
    token: &AccessToken,
    room_id: &str,
    user_id: &str,
    content: &str,
) {
    let Ok(_permit) = WAITING.try_acquire() else {
        warn!(room_id, user_id, "too many invites wait for another attempt");
        return;
    };
    for pause in PAUSES {
        sleep(pause).await;
        match invite(federation, token, room_id, user_id, content).await {
            Err(error) if may_pass(&error) => {}
            Ok(answer) if answer.status.is_success() => {
                info!(room_id, user_id, "a user was invited after further attempts");
                return;
            }
            Ok(answer) => return info!(room_id, user_id, answer = answer.body, "a user is not invited"),
            Err(error) => {
                return info!(room_id, user_id, error = %error.message, "a user is not invited");
            }
        }
    }
    warn!(room_id, user_id, "a user was not invited after several attempts");
}

/// Invites a remote user; the answer is `{"event_id"}`. `content` is the event's content as JSON text;
/// `membership` may be absent from it.
pub async fn invite(
    federation: &Federation,
    token: &AccessToken,
    room_id: &str,
    user_id: &str,
    content: &str,
) -> Result<MatrixResponse, ApiError> {
    let prepared = federation.call(PREPARE, &[&token.hash(), &room_id, &user_id, &content]).await?;
    if prepared.status != StatusCode::OK {
        return Ok(prepared);
    }
    let prepared: PreparedInvite = prepared.read()?;
    send(federation, room_id, user_id, prepared).await
}

/// Has the invited user's server sign the invite, and puts it through intake.
pub async fn send(
    federation: &Federation,
    room_id: &str,
    user_id: &str,
    mut prepared: PreparedInvite,
) -> Result<MatrixResponse, ApiError> {
    if let Some(server) = &prepared.policy_server {
        let event = &mut prepared.event;
        let signed = federation.policy_servers.sign(server, event).await;
        signed.map_err(policy_servers::for_client)?;
    }
    let server = server_name(user_id).unwrap_or_default();
    let event =
        signed_by(federation, server, room_id, &prepared).await.map_err(FederationError::for_client)?;
    let batch = Batch {
        room_id,
        room_version: &prepared.room_version,
        kind: Kind::Relayed,
        servers: &[],
        pdus: vec![event],
        states: BTreeMap::new(),
    };
    match intake::take_in(federation, batch).await?.pop().map(|taken| taken.verdict) {
        Some(Ok(Verdict::Accepted)) => Ok(MatrixResponse::of(json!({ "event_id": prepared.event_id }))),
        // The room changed while the other server signed.
        Some(Ok(Verdict::SoftFailed { reason } | Verdict::Rejected { reason })) => {
            Err(ApiError::forbidden(reason))
        }
        _ => {
            let message = format!("{server} changed the invite");
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", message))
        }
    }
}

/// Sends the invite to the user's server, and returns it with that server's signature.
async fn signed_by(
    federation: &Federation,
    server: &str,
    room_id: &str,
    prepared: &PreparedInvite,
) -> Result<String, FederationError> {
    let http = &federation.http;
    let path = |version: &str| {
        format!("/_matrix/federation/{version}/invite/{}/{}", encode(room_id), encode(&prepared.event_id))
    };
    let body = json!({
        "event": prepared.event,
        "room_version": prepared.room_version,
        "invite_room_state": prepared.invite_room_state,
    });
    let request = Request {
        method: Method::PUT,
        destination: server,
        path: &path("v2"),
        body: Some(&body),
        max_answer: MAX_ANSWER,
        timeout: http.timeout(),
    };
    let answer = match http.send_for_raw(request).await {
        Err(error) if may_lack_v2(&error, &prepared.room_version) => {
            let state = json!({ "invite_room_state": prepared.invite_room_state });
            let mut event = prepared.event.clone();
            event.insert("unsigned".to_owned(), state);
            let request = Request {
                method: Method::PUT,
                destination: server,
                path: &path("v1"),
                body: Some(&event.into()),
                max_answer: MAX_ANSWER,
                timeout: http.timeout(),
            };
            let answer = http.send_v1(request).await;
            answer.map_err(|second| if second.refusal() < error.refusal() { second } else { error })?
        }
        answer => answer?,
    };
    let event = answer.get("event").map(|event| event.get().to_owned());
    event.ok_or_else(|| FederationError::bad_answer(server, "it has no event"))
}

/// Whether the server may know only the first version of the endpoint, which serves the first room versions.
fn may_lack_v2(error: &FederationError, room_version: &str) -> bool {
    let is_early = matches!(room_version, "1" | "2");
    let is_unknown = |status: StatusCode| matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND);
    is_early && matches!(error, FederationError::Refused { status, .. } if is_unknown(*status))
}
