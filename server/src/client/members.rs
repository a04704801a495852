//! The members of a room, and the rooms of a user. Client-Server API, "Getting events for a room".

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
        .client_v3("/rooms/{room_id}/members", get(members))
        .client_v3("/rooms/{room_id}/joined_members", get(joined_members))
        .client_v3("/joined_rooms", get(joined_rooms))
}

const MEMBERS: &str = call!("matriarch.members($1, $2, $3, $4, $5)");
const JOINED_MEMBERS: &str = call!("matriarch.joined_members($1, $2)");
const JOINED_ROOMS: &str = call!("matriarch.joined_rooms($1)");

#[derive(Deserialize)]
struct Parameters {
    at: Option<String>,
    membership: Option<String>,
    not_membership: Option<String>,
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
async fn members(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(Parameters { at, membership, not_membership }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    app.call(MEMBERS, &[&token.hash(), &room_id, &at, &membership, &not_membership]).await
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
async fn joined_members(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(JOINED_MEMBERS, &[&token.hash(), &room_id]).await
}

/// `GET /_matrix/client/v3/joined_rooms`
async fn joined_rooms(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(JOINED_ROOMS, &[&token.hash()]).await
}
