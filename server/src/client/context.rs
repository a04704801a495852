//! Client-Server API, "Event Context".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, Query};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/context/{event_id}", get(context))
}

#[derive(Deserialize)]
struct Parameters {
    limit: Option<i64>,
    filter: Option<String>,
}

const CONTEXT: &str = call!("matriarch.context($1, $2, $3, $4, $5)");

/// `GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}`
async fn context(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, event_id)): Path<(String, String)>,
    Query(Parameters { limit, filter }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    let hash = token.hash();
    let response = app.call(CONTEXT, &[&hash, &room_id, &event_id, &limit, &filter]).await?;
    match response.is_elsewhere() && app.fetch_event(&room_id, &event_id).await {
        true => app.call(CONTEXT, &[&hash, &room_id, &event_id, &limit, &filter]).await,
        false => Ok(response),
    }
}
