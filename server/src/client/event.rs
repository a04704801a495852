//! Single events. Client-Server API, "Getting events for a room".

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/rooms/{room_id}/event/{event_id}", get(event))
        .client_v3("/events/{event_id}", get(event_of_any_room))
}

const EVENT: &str = call!("matriarch.event($1, $2, $3)");

/// `GET /_matrix/client/v3/rooms/{roomId}/event/{eventId}`
async fn event(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, event_id)): Path<(String, String)>,
) -> Result<MatrixResponse, ApiError> {
    let (hash, room) = (token.hash(), Some(&room_id));
    let response = app.call(EVENT, &[&hash, &room, &event_id]).await?;
    match response.is_elsewhere() && app.fetch_event(&room_id, &event_id).await {
        true => app.call(EVENT, &[&hash, &room, &event_id]).await,
        false => Ok(response),
    }
}

/// `GET /_matrix/client/v3/events/{eventId}`, deprecated
async fn event_of_any_room(
    State(app): State<App>,
    token: AccessToken,
    Path(event_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(EVENT, &[&token.hash(), &None::<String>, &event_id]).await
}
