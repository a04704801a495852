//! `GET /rooms/{roomId}/messages`. Client-Server API, "Getting events for a room".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::history::TIMEOUT;
use crate::http::{AccessToken, ClientRoutes, Path, Query};

/// How many times a page is read again after missing events were fetched.
const MAX_READS: usize = 20;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/rooms/{room_id}/messages", get(messages))
}

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    to: Option<String>,
    dir: String,
    limit: Option<i64>,
    filter: Option<String>,
}

const MESSAGES: &str = call!("matriarch.messages($1, $2, $3, $4, $5, $6, $7, $8)", gap);

/// `GET /_matrix/client/v3/rooms/{roomId}/messages`
///
/// If the page reaches a gap, this asks other servers for the missing events. After a few seconds the client
/// gets the stored events, and may continue from there.
async fn messages(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(Parameters { from, to, dir, limit, filter }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    let deadline = Instant::now() + TIMEOUT;
    let (hash, federated) = (token.hash(), app.federation.is_enabled());
    let mut reads = 1;
    loop {
        let row = app
            .db
            .query_opt(MESSAGES, &[&hash, &room_id, &from, &to, &dir, &limit, &filter, &federated])
            .await?
            .ok_or_else(ApiError::internal)?;
        let gap: Option<String> = row.try_get("gap").map_err(|_| ApiError::internal())?;
        let Some(event_id) = gap.filter(|_| reads < MAX_READS) else {
            return MatrixResponse::from_row(&row);
        };
        if !app.history.fill(&room_id, &event_id, deadline).await {
            return MatrixResponse::from_row(&row);
        }
        reads += 1;
    }
}
