//! Users of other servers are invited: their server signs the event too. Server-Server API, "Inviting to a room".

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};
use matriarch_rules::identifiers::server_name;
use serde::Deserialize;
use serde_json::{Value, json};

use super::client::{FederationError, Request};
use super::intake::{self, Batch, Kind, Outcome};
use super::membership::encode;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::AccessToken;
use crate::state::AppState;

/// Bytes: one event.
const MAX_ANSWER: usize = 256 * 1024;

const PREPARE: &str = "select status, body, wake_rooms, wake_users from matriarch.prepare_invite($1, $2, $3)";

/// The invite, signed by this server.
#[derive(Deserialize)]
struct Prepared {
    event_id: String,
    event: Value,
    room_version: String,
    invite_room_state: Vec<Value>,
}

/// Invites a user of another server. `body` is the client's.
pub async fn invite(
    app: &AppState,
    token: &AccessToken,
    room_id: &str,
    user_id: &str,
    body: &str,
) -> Result<MatrixResponse, ApiError> {
    let prepared = app.call(PREPARE, &[&token.hash(), &room_id, &body]).await?;
    if prepared.status != StatusCode::OK {
        return Ok(prepared);
    }
    let prepared: Prepared = serde_json::from_str(&prepared.body).map_err(|_| ApiError::internal())?;
    let server = server_name(user_id).unwrap_or_default();
    let event = signed_by(app, server, room_id, &prepared).await.map_err(FederationError::for_client)?;
    let batch = Batch {
        room_id,
        room_version: &prepared.room_version,
        kind: Kind::Relayed,
        servers: &[],
        pdus: vec![event.to_string()],
        states: BTreeMap::new(),
    };
    match intake::take_in(app, batch).await?.pop().map(|taken| taken.outcome) {
        Some(Outcome::Accepted) => Ok(MatrixResponse::of(json!({}))),
        // The room changed in between.
        Some(Outcome::SoftFailed(reason) | Outcome::Rejected(reason)) => Err(ApiError::forbidden(reason)),
        _ => {
            let message = format!("{server} changed the invite");
            Err(ApiError::new(StatusCode::BAD_GATEWAY, "M_UNKNOWN", message))
        }
    }
}

/// The invite with the signature of the user's server.
async fn signed_by(
    app: &AppState,
    server: &str,
    room_id: &str,
    prepared: &Prepared,
) -> Result<Value, FederationError> {
    let client = &app.federation.client;
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
        timeout: client.timeout(),
    };
    let mut answer = client.send(&app.db, request).await?;
    answer.remove("event").ok_or_else(|| FederationError::BadAnswer {
        server: server.to_owned(),
        reason: "it has no event".to_owned(),
    })
}
