//! Receives membership events of remote users for rooms of this server (`send_…`). Server-Server API,
//! "Joining Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::put;
use matriarch_wire::NeedsEvents;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, Outcome, call};
use crate::federation::intake;
use crate::federation::intake::batch::{Batch, Kind};
use crate::http::{Path, QueryPairs, json_response};

const SEND: &str = call!("matriarch.federation_send_membership($1, $2, $3, $4, $5, $6)");
const VERSION: &str = "select room_version from matriarch.rooms where room_id = $1";

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v2/send_join/{room_id}/{event_id}", put(send_join))
        .route("/_matrix/federation/v1/send_join/{room_id}/{event_id}", put(send_join_v1))
        .route("/_matrix/federation/v1/send_knock/{room_id}/{event_id}", put(send_knock))
        .route("/_matrix/federation/v2/send_leave/{room_id}/{event_id}", put(send_leave))
        .route("/_matrix/federation/v1/send_leave/{room_id}/{event_id}", put(send_leave_v1))
}

type Answer = Result<MatrixResponse, ApiError>;

/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`
async fn send_join(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    query: QueryPairs,
    request: ServerRequest,
) -> Answer {
    let omit_members = match query.all("omit_members").pop() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid_param("`omit_members` is true or false")),
    };
    Sent { room_id, event_id, membership: "join", request }.take_in(&app, omit_members).await
}

/// `PUT /_matrix/federation/v1/send_join/{roomId}/{eventId}`, as before version 1.18 of the specification.
async fn send_join_v1(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Result<Response, ApiError> {
    Sent { room_id, event_id, membership: "join", request }.take_in(&app, false).await.map(with_status)
}

/// `PUT /_matrix/federation/v1/send_knock/{roomId}/{eventId}`
async fn send_knock(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Answer {
    Sent { room_id, event_id, membership: "knock", request }.take_in(&app, false).await
}

/// `PUT /_matrix/federation/v2/send_leave/{roomId}/{eventId}`
async fn send_leave(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Answer {
    Sent { room_id, event_id, membership: "leave", request }.take_in(&app, false).await
}

/// `PUT /_matrix/federation/v1/send_leave/{roomId}/{eventId}`, as before version 1.18 of the specification.
async fn send_leave_v1(
    State(app): State<App>,
    Path((room_id, event_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Result<Response, ApiError> {
    Sent { room_id, event_id, membership: "leave", request }.take_in(&app, false).await.map(with_status)
}

/// The first version of these endpoints answers with the status in the body.
fn with_status(answer: MatrixResponse) -> Response {
    match answer.status {
        StatusCode::OK => json_response(StatusCode::OK, format!("[200,{}]", answer.body)),
        _ => answer.into_response(),
    }
}

/// A membership event that another server made.
struct Sent {
    room_id: String,
    event_id: String,
    membership: &'static str,
    request: ServerRequest,
}

impl Sent {
    /// Stores the event. One statement is usually enough, since the room has all events that its own template
    /// cites. Otherwise the event goes through intake first.
    async fn take_in(&self, app: &App, omit_members: bool) -> Answer {
        let answer = self.call(app, omit_members).await?;
        if answer.outcome != Some(Outcome::NeedsEvents) {
            return Ok(answer);
        }
        let NeedsEvents { event } = answer.read()?;
        let row = app.db.query_opt(VERSION, &[&self.room_id]).await?;
        let version: String = row.ok_or_else(|| ApiError::not_found("The room is not known"))?.get(0);
        let servers = [self.request.origin.clone()];
        let batch = Batch {
            room_id: &self.room_id,
            room_version: &version,
            kind: Kind::Relayed,
            servers: &servers,
            pdus: vec![event],
            states: BTreeMap::new(),
        };
        intake::take_in(&app.federation, batch).await?;
        let answer = self.call(app, omit_members).await?;
        if answer.outcome == Some(Outcome::NeedsEvents) {
            return Err(ApiError::invalid_param(
                "What the event depends on, or who signed it, cannot be found out",
            ));
        }
        Ok(answer)
    }

    async fn call(&self, app: &App, omit_members: bool) -> Answer {
        let pdu = self.request.content.text();
        let Self { room_id, event_id, membership, request } = self;
        app.call(SEND, &[&request.origin, room_id, event_id, membership, &pdu, &omit_members]).await
    }
}
