//! Client-Server API, "Sending events to a room" and "Redactions".
//!
//! Requests that arrive together go into the database as one statement, also those to several rooms.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;
use serde_json::Value;
use tracing::error;

use crate::batcher::Batcher;
use crate::db::{Db, MatrixResponse};
use crate::error::ApiError;
use crate::federation::partial_joins::Patience;
use crate::federation::{inviting, policy_servers};
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody};
use crate::hub::Hub;
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/rooms/{room_id}/send/{event_type}/{txn_id}", put(send_message))
        .client_v3("/rooms/{room_id}/redact/{event_id}/{txn_id}", put(redact))
        .client_v3("/rooms/{room_id}/state/{event_type}", put(set_state))
        .client_v3("/rooms/{room_id}/state/{event_type}/", put(set_state))
        .client_v3("/rooms/{room_id}/state/{event_type}/{state_key}", put(set_state_with_key))
}

/// Sends, by shard of the rooms.
pub type Sends = Batcher<u64, Send, Answer>;

/// How many batches may be in flight. All requests to a room share a shard, so that they never wait for each other's
/// lock in the database; fewer shards make bigger batches, more use more of the database's processors.
const SHARDS: u64 = 4;

type Answer = Result<MatrixResponse, ApiError>;

/// An event on its way into a room.
#[derive(Clone, Debug)]
pub struct Send {
    room_id: String,
    token: AccessToken,
    event_type: String,
    state_key: Option<String>,
    txn_id: Option<String>,
    content: String,
    redacts: Option<String>,
}

/// How many events go into one transaction at most: each waits for all of them.
const MAX_BATCH: usize = 50;

const SEND: &str =
    "select status, body, wake_rooms, wake_users from matriarch.send($1, $2, $3, $4, $5, $6, $7)";

/// The batcher behind these endpoints.
pub fn batcher(db: Db, hub: Hub) -> Sends {
    Batcher::new("send", MAX_BATCH, move |_shard: u64, sends: Vec<Send>| {
        let (db, hub) = (db.clone(), hub.clone());
        async move { send_all(&db, &hub, &sends).await }
    })
}

async fn send_all(db: &Db, hub: &Hub, sends: &[Send]) -> Vec<Answer> {
    match send_together(db, hub, sends).await {
        Ok(answers) => answers.into_iter().map(Ok).collect(),
        // What one of them meets, such as a value that no index holds, is not to be the others' fault.
        Err(refusal) if refusal.retry_after.is_none() && sends.len() > 1 => {
            let mut answers = Vec::with_capacity(sends.len());
            for send in sends {
                let answer = send_together(db, hub, std::slice::from_ref(send)).await;
                answers.push(
                    answer.and_then(|answers| answers.into_iter().next().ok_or_else(ApiError::internal)),
                );
            }
            answers
        }
        Err(refusal) => vec![Err(refusal); sends.len()],
    }
}

/// One statement: all of them, or none.
async fn send_together(db: &Db, hub: &Hub, sends: &[Send]) -> Result<Vec<MatrixResponse>, ApiError> {
    let room_ids: Vec<&str> = sends.iter().map(|send| send.room_id.as_str()).collect();
    let token_hashes: Vec<&[u8]> = sends.iter().map(|send| send.token.hash()).collect();
    let types: Vec<&str> = sends.iter().map(|send| send.event_type.as_str()).collect();
    let state_keys: Vec<Option<&str>> = sends.iter().map(|send| send.state_key.as_deref()).collect();
    let txn_ids: Vec<Option<&str>> = sends.iter().map(|send| send.txn_id.as_deref()).collect();
    let contents: Vec<&str> = sends.iter().map(|send| send.content.as_str()).collect();
    let redacts: Vec<Option<&str>> = sends.iter().map(|send| send.redacts.as_deref()).collect();
    let rows = db
        .query(SEND, &[&room_ids, &token_hashes, &types, &state_keys, &txn_ids, &contents, &redacts])
        .await?;
    if rows.len() != sends.len() {
        error!(asked = sends.len(), answered = rows.len(), "sends were not all answered");
        return Err(ApiError::internal());
    }
    let answers = rows.iter().map(MatrixResponse::from_row).collect::<Result<Vec<_>, _>>()?;
    let mut rooms: Vec<i64> = answers.iter().flat_map(|answer| answer.wake_rooms.iter().copied()).collect();
    rooms.sort_unstable();
    rooms.dedup();
    let users: Vec<i64> = answers.iter().flat_map(|answer| answer.wake_users.iter().copied()).collect();
    hub.wake(&rooms, &users);
    Ok(answers)
}

async fn submit(app: &AppState, send: Send) -> Answer {
    let mut hasher = DefaultHasher::new();
    send.room_id.hash(&mut hasher);
    let token = send.token;
    // Memberships may have to wait until a room's members have come.
    let again = (send.event_type == "m.room.member").then(|| send.clone());
    let mut answer = app.sends.submit(hasher.finish() % SHARDS, send).await??;
    let patience = Patience::default();
    while let (StatusCode::LOCKED, Some(send)) = (answer.status, &again) {
        patience.pause().await?;
        answer = app.sends.submit(hasher.finish() % SHARDS, send.clone()).await??;
    }
    let answer = policy_servers::complete(app, answer).await?;
    if answer.status == StatusCode::OK {
        app.presence.is_active(token);
    }
    Ok(answer)
}

/// Sends the event that stands for an invite until the user is known.
pub async fn set_third_party_invite(
    app: &AppState,
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

/// `PUT /_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}`
async fn send_message(
    State(app): State<AppState>,
    token: AccessToken,
    Path((room_id, event_type, txn_id)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Answer {
    let send =
        Send { room_id, token, event_type, state_key: None, txn_id: Some(txn_id), content, redacts: None };
    submit(&app, send).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}`
async fn redact(
    State(app): State<AppState>,
    token: AccessToken,
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
    app: State<AppState>,
    token: AccessToken,
    Path((room_id, event_type)): Path<(String, String)>,
    body: RawJsonBody,
) -> Answer {
    set_state_with_key(app, token, Path((room_id, event_type, String::new())), body).await
}

/// `PUT /_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}`
async fn set_state_with_key(
    State(app): State<AppState>,
    token: AccessToken,
    Path((room_id, event_type, state_key)): Path<(String, String, String)>,
    RawJsonBody(content): RawJsonBody,
) -> Answer {
    if event_type == "m.room.member" && app.is_elsewhere(&state_key) && is_invite(&content) {
        return inviting::invite(&app, &token, &room_id, &state_key, &content).await;
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
