//! Receives invites of local users from other servers, and signs them. Server-Server API, "Inviting to a
//! room".

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use matriarch_rules::json_text::object_text;
use matriarch_wire::SignedInvite;
use tracing::info;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::base::metrics;
use crate::base::raw_object::RawObject;
use crate::database::{MatrixResponse, Outcome, call};
use crate::federation::http_client::FederationError;
use crate::federation::intake;
use crate::federation::intake::batch::{Batch, Kind};
use crate::http::{Path, json_response};

const INVITE: &str = call!("matriarch.federation_invite($1, $2, $3, $4, $5)");
const VERSION: &str = "select room_version from matriarch.rooms where room_id = $1";

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v2/invite/{room_id}/{event_id}", put(invite))
        .route("/_matrix/federation/v1/invite/{room_id}/{event_id}", put(invite_v1))
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`
async fn invite(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    take(&app, &request.origin, &room_id, &event_id, request.content.text()).await
}

/// `PUT /_matrix/federation/v1/invite/{roomId}/{eventId}`: the body is the event, of room version 1 or 2,
/// with the stripped state in its `unsigned`.
async fn invite_v1(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Result<Response, ApiError> {
    let unsigned = request.content.get("unsigned").and_then(|it| RawObject::parse(it.get().to_owned()));
    let state = unsigned.as_ref().and_then(|unsigned| unsigned.get("invite_room_state"));
    let row = app.db.query_opt(VERSION, &[&room_id]).await?;
    let is_second = row.is_some_and(|row| row.get::<_, &str>(0) == "2");
    let body = object_text(|body| {
        body.raw("event", request.content.text());
        body.value("invite_room_state", state);
        body.value("room_version", if is_second { "2" } else { "1" });
    });
    let answer = take(&app, &request.origin, &room_id, &event_id, &body).await?;
    Ok(match answer.status {
        StatusCode::OK => json_response(StatusCode::OK, format!("[200,{}]", answer.body)),
        _ => answer.into_response(),
    })
}

/// Signs an invite and stores it. Fetches the origin's keys if they are not stored. If this server is in the
/// room, the invite also goes through intake before the answer, so that the invited user can join at once.
async fn take(
    app: &App,
    origin: &str,
    room_id: &str,
    event_id: &str,
    body: &str,
) -> Result<MatrixResponse, ApiError> {
    let is_strict = app.federation.config.federation.require_signed_invite_state;
    let mut answer = app.call(INVITE, &[&origin, &room_id, &event_id, &body, &is_strict]).await?;
    if answer.outcome == Some(Outcome::NeedsKeys) {
        if let Err(FederationError::Internal(error)) = app.federation.key_ring.fetch(origin).await {
            return Err(error);
        }
        answer = app.call(INVITE, &[&origin, &room_id, &event_id, &body, &is_strict]).await?;
    }
    if answer.status != StatusCode::OK {
        return Ok(answer);
    }
    let signed: SignedInvite = answer.read()?;
    if signed.has_unproven_state {
        info!(origin, room_id, "an invite came with state that does not prove the room");
        metrics::unproven_invite();
    }
    if let Some(room_version) = &signed.inhabited_room_version {
        take_in(app, origin, room_id, room_version, &signed.event).await;
    }
    let body = object_text(|body| {
        body.raw("event", &signed.event);
    });
    Ok(MatrixResponse { body, ..answer })
}

async fn take_in(app: &App, origin: &str, room_id: &str, room_version: &str, event: &str) {
    let servers = [origin.to_owned()];
    let pdus = vec![event.to_owned()];
    let batch =
        Batch { room_id, room_version, kind: Kind::Live, servers: &servers, pdus, states: BTreeMap::new() };
    if let Err(error) = intake::take_in(&app.federation, batch).await {
        // The origin also sends it in a transaction.
        info!(room_id, error = %error.message, "the intake of an invite failed");
    }
}
