//! The deprecated initial synchronization, which room previews still use. Client-Server API, "Syncing" and
//! "Room Previews".

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
    Router::new()
        .client_v3("/initialSync", get(initial_sync))
        .client_v3("/rooms/{room_id}/initialSync", get(room_initial_sync))
}

const INITIAL_SYNC: &str = call!("matriarch.initial_sync($1, $2, $3, $4)");
const ROOM_INITIAL_SYNC: &str = call!("matriarch.room_initial_sync($1, $2, $3)");

#[derive(Deserialize)]
struct InitialSyncParameters {
    limit: Option<i64>,
    #[serde(default)]
    archived: bool,
}

/// `GET /_matrix/client/v3/initialSync`
async fn initial_sync(
    State(app): State<App>,
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
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(RoomParameters { limit }): Query<RoomParameters>,
) -> Result<MatrixResponse, ApiError> {
    app.call(ROOM_INITIAL_SYNC, &[&token.hash(), &room_id, &limit]).await
}
