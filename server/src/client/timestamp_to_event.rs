//! The event closest to a time. Client-Server API, "Getting events for a room".

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use matriarch_wire::ClosestEvent;
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::history::{TIMEOUT, Time};
use crate::http::{AccessToken, ClientRoutes, Path, Query};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v1("/rooms/{room_id}/timestamp_to_event", get(timestamp_to_event))
        .client_unstable("/org.matrix.msc3030/rooms/{room_id}/timestamp_to_event", get(timestamp_to_event))
}

#[derive(Deserialize)]
struct Parameters {
    ts: i64,
    dir: String,
}

const TIMESTAMP_TO_EVENT: &str = call!("matriarch.timestamp_to_event($1, $2, $3, $4)", gap);

/// `GET /_matrix/client/v1/rooms/{roomId}/timestamp_to_event`
///
/// If there is a gap between the time and the closest stored event, this asks other servers.
async fn timestamp_to_event(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(Parameters { ts, dir }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    let deadline = Instant::now() + TIMEOUT;
    let look = async || {
        let row = app.db.query_opt(TIMESTAMP_TO_EVENT, &[&token.hash(), &room_id, &ts, &dir]).await?;
        let row = row.ok_or_else(ApiError::internal)?;
        let gap: Option<String> = row.try_get("gap").map_err(|_| ApiError::internal())?;
        Ok::<_, ApiError>((MatrixResponse::from_row(&row)?, gap))
    };
    let (response, gap) = look().await?;
    let Some(gap) = gap.filter(|_| app.federation.is_enabled()) else { return Ok(response) };
    let known_ts = match response.status {
        StatusCode::OK => {
            let closest: ClosestEvent = response.read()?;
            Some(closest.origin_server_ts)
        }
        _ => None,
    };
    let time = Time { room_id: &room_id, gap: &gap, ts, dir: &dir, known_ts };
    match app.history.fetch_closest(&time, deadline).await {
        true => look().await.map(|(response, _)| response),
        false => Ok(response),
    }
}
