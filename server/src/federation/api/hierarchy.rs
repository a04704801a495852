//! The hierarchy of spaces, for other servers. Server-Server API, "Spaces".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{Path, Query};

const HIERARCHY: &str = call!("matriarch.federation_hierarchy($1, $2, $3)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_matrix/federation/v1/hierarchy/{room_id}", get(hierarchy))
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    suggested_only: bool,
}

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
async fn hierarchy(
    State(app): State<App>,
    Path(room_id): Path<String>,
    Query(Parameters { suggested_only }): Query<Parameters>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(HIERARCHY, &[&request.origin, &room_id, &suggested_only]).await
}
