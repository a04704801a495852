//! Client-Server API, "Sending events to a room" and "Redactions".

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::put;
use serde::Deserialize;
use serde_json::Value;

use crate::app::App;
use crate::base::error::ApiError;
use crate::calls::send::Send;
use crate::database::MatrixResponse;
use crate::federation::base::when_whole;
use crate::federation::remote_invites;
use crate::http::{AccessToken, ClientRoutes, Path, QueryPairs, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/rooms/{room_id}/send/{event_type}/{txn_id}", put(send_message))
        .client_v3("/rooms/{room_id}/redact/{event_id}/{txn_id}", put(redact))
        .client_v3("/rooms/{room_id}/state/{event_type}", put(set_state))
        .client_v3("/rooms/{room_id}/state/{event_type}/", put(set_state))
        .client_v3("/rooms/{room_id}/state/{event_type}/{state_key}", put(set_state_with_key))
}

type Answer = Result<MatrixResponse, ApiError>;

/// Sends an event in a batch with others. Repeats that while the room is partial.
async fn submit(app: &App, send: Send) -> Answer {
    let send = Arc::new(send);
    let submit =
        || when_whole(|| async { app.sends.submit(send.shard(), send.group(), Arc::clone(&send)).await? });
    let mut answer = submit().await?;
    // The target of a redaction may be in a gap.
    if answer.is_elsewhere()
        && let Some(target) = redacted_event(&send)
        && app.fetch_event(&send.room_id, &target).await
    {
        answer = submit().await?;
    }
    let answer = app.federation.sign(answer).await?;
    if answer.status == StatusCode::OK {
        app.presence.is_active(send.token);
    }
    Ok(answer)
}

/// The event that a redaction is to redact.
fn redacted_event(send: &Send) -> Option<String> {
    #[derive(Deserialize)]
    struct Redaction {
        redacts: String,
    }
    let in_content = || Some(serde_json::from_str::<Redaction>(&send.content).ok()?.redacts);
    send.redacts.clone().or_else(in_content)
}

/// Sends the `m.room.third_party_invite` event of an invite.
pub async fn set_third_party_invite(
    app: &App,
    token: AccessToken,
    room_id: &str,
    invite: String,
    content: Value,
) -> Answer {
    let send = Send {
        room_id: room_id.to_owned(),
        token,
        event_type: "m.room.third_party_invite".to_owned(),
        state_key: Some(invite),
        txn_id: None,
        content: content.to_string(),
        redacts: None,
    };
    submit(app, send).await
}

/// Query parameters by which clients ask that an event is sent later (MSC4140). This server does not delay
/// events, and one that says that a user leaves a call must not be sent at once instead.
const DELAYS: [&str; 3] = ["org.matrix.msc4140.delay", "org.matrix.msc4140.parent_delay_id", "delay"];

/// A request for an event that is sent now. Others are refused with 403 `M_FORBIDDEN`.
struct SentNow;

impl<S: Sync> FromRequestParts<S> for SentNow {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let pairs = QueryPairs::from_request_parts(parts, state).await?;
        if DELAYS.iter().any(|name| !pairs.all(name).is_empty()) {
            return Err(ApiError::forbidden("This server does not delay events"));
        }
        Ok(Self)
    }
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send_message(
    State(app): State<App>,
    token: AccessToken,
    _: SentNow,
    Path((room_id, event_type, txn_id)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Answer {
    let send =
        Send { room_id, token, event_type, state_key: None, txn_id: Some(txn_id), content, redacts: None };
    submit(&app, send).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    State(app): State<App>,
    token: AccessToken,
    _: SentNow,
    Path((room_id, event_id, txn_id)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Answer {
    let event_type = "m.room.redaction".to_owned();
    let send = Send {
        room_id,
        token,
        event_type,
        state_key: None,
        txn_id: Some(txn_id),
        content,
        redacts: Some(event_id),
    };
    submit(&app, send).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}`
async fn set_state(
    app: State<App>,
    token: AccessToken,
    now: SentNow,
    Path((room_id, event_type)): Path<(String, String)>,
    body: RawJsonBody,
) -> Answer {
    set_state_with_key(app, token, now, Path((room_id, event_type, String::new())), body).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn set_state_with_key(
    State(app): State<App>,
    token: AccessToken,
    _: SentNow,
    Path((room_id, event_type, state_key)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Answer {
    if event_type == "m.room.member" && app.federation.is_elsewhere(&state_key) && is_invite(&content) {
        return remote_invites::invite(&app.federation, &token, &room_id, &state_key, &content).await;
    }
    let send =
        Send { room_id, token, event_type, state_key: Some(state_key), txn_id: None, content, redacts: None };
    submit(&app, send).await
}

fn is_invite(content: &str) -> bool {
    #[derive(Deserialize)]
    struct Member {
        membership: Option<String>,
    }
    serde_json::from_str(content)
        .is_ok_and(|member: Member| member.membership.is_some_and(|membership| membership == "invite"))
}
