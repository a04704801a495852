//! The deprecated event stream and initial synchronization, of which previews of rooms still make use. Client-Server
//! API, "Syncing" and "Room Previews".

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::time::Instant;

use super::sync::{Answer, deadline};
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Path, Query, json_response};
use crate::hub::Woken;
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/events", get(events))
        .client_v3("/initialSync", get(initial_sync))
        .client_v3("/rooms/{room_id}/initialSync", get(room_initial_sync))
}

const EVENTS: &str = "select status, body, changed, user_nid, room_nids, acknowledged_by from matriarch.events($1, $2, $3, $4)";
const INITIAL_SYNC: &str =
    "select status, body, wake_rooms, wake_users from matriarch.initial_sync($1, $2, $3, $4)";
const ROOM_INITIAL_SYNC: &str =
    "select status, body, wake_rooms, wake_users from matriarch.room_initial_sync($1, $2, $3)";

#[derive(Deserialize)]
struct EventsParameters {
    from: Option<String>,
    room_id: Option<String>,
    /// Milliseconds.
    timeout: Option<u64>,
}

/// `GET /_matrix/client/v3/events`
async fn events(
    State(app): State<AppState>,
    token: AccessToken,
    Query(EventsParameters { mut from, room_id, timeout }): Query<EventsParameters>,
) -> Result<Response, ApiError> {
    let deadline = deadline(&app.config, timeout);
    loop {
        let mark = app.hub.mark();
        let row =
            app.db.query_opt(EVENTS, &[&token.hash(), &from, &room_id, &app.presence.is_enabled()]).await?;
        let answer = Answer::from_row(&row.ok_or_else(ApiError::internal)?)?;
        if answer.changed || Instant::now() >= deadline {
            return Ok(json_response(answer.status, answer.body));
        }
        match app.hub.wait(mark, answer.user_nid, &answer.room_nids, deadline).await {
            Woken::News => from = answer.token("end").or(from),
            Woken::Timeout | Woken::Shutdown => return Ok(json_response(answer.status, answer.body)),
        }
    }
}

#[derive(Deserialize)]
struct InitialSyncParameters {
    limit: Option<i64>,
    #[serde(default)]
    archived: bool,
}

/// `GET /_matrix/client/v3/initialSync`
async fn initial_sync(
    State(app): State<AppState>,
    token: AccessToken,
    Query(InitialSyncParameters { limit, archived }): Query<InitialSyncParameters>,
) -> Result<MatrixResponse, ApiError> {
    let presence = app.presence.is_enabled();
    app.call(INITIAL_SYNC, &[&token.hash(), &limit, &archived, &presence]).await
}

#[derive(Deserialize)]
struct RoomParameters {
    limit: Option<i64>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/initialSync`
async fn room_initial_sync(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(RoomParameters { limit }): Query<RoomParameters>,
) -> Result<MatrixResponse, ApiError> {
    app.call(ROOM_INITIAL_SYNC, &[&token.hash(), &room_id, &limit]).await
}
