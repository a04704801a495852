//! The deprecated event stream, which room previews still use. Client-Server API, "Syncing" and "Room
//! Previews".

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::App;
use crate::base::error::ApiError;
use crate::calls::sync::Answer;
use crate::client::sync::deadline;
use crate::http::{AccessToken, ClientRoutes, Query, json_response};
use crate::hub::Woken;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/events", get(events))
}

const EVENTS: &str = "select status, body, changed, user_nid, room_nids, acknowledged_by
    from matriarch.events($1, $2, $3, $4)";

#[derive(Deserialize)]
struct EventsParameters {
    from: Option<String>,
    room_id: Option<String>,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// `GET /_matrix/client/v3/events`
async fn events(
    State(app): State<App>,
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
