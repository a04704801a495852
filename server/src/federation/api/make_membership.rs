//! Templates of membership events for remote users (`make_…`). Server-Server API, "Joining Rooms", "Knocking
//! upon a room" and "Leaving Rooms (Rejecting Invites)".

use axum::Router;
use axum::extract::State;
use axum::routing::get;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{Path, QueryPairs};

const MAKE: &str = call!("matriarch.federation_make_membership($1, $2, $3, $4, $5)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/make_join/{room_id}/{user_id}", get(make_join))
        .route("/_matrix/federation/v1/make_knock/{room_id}/{user_id}", get(make_knock))
        .route("/_matrix/federation/v1/make_leave/{room_id}/{user_id}", get(make_leave))
}

type Answer = Result<MatrixResponse, ApiError>;

/// `GET /_matrix/federation/v1/make_join/{roomId}/{userId}`
async fn make_join(
    State(app): State<App>,
    Path((room_id, user_id)): Path<(String, String)>,
    query: QueryPairs,
    request: ServerRequest,
) -> Answer {
    let mut versions = query.all("ver");
    if versions.is_empty() {
        versions.push("1");
    }
    app.call(MAKE, &[&request.origin, &room_id, &user_id, &"join", &versions]).await
}

/// `GET /_matrix/federation/v1/make_knock/{roomId}/{userId}`
async fn make_knock(
    State(app): State<App>,
    Path((room_id, user_id)): Path<(String, String)>,
    query: QueryPairs,
    request: ServerRequest,
) -> Answer {
    let versions = query.all("ver");
    if versions.is_empty() {
        return Err(ApiError::missing_param("ver"));
    }
    app.call(MAKE, &[&request.origin, &room_id, &user_id, &"knock", &versions]).await
}

/// `GET /_matrix/federation/v1/make_leave/{roomId}/{userId}`
async fn make_leave(
    State(app): State<App>,
    Path((room_id, user_id)): Path<(String, String)>,
    request: ServerRequest,
) -> Answer {
    let any_version: Option<Vec<&str>> = None;
    app.call(MAKE, &[&request.origin, &room_id, &user_id, &"leave", &any_version]).await
}
