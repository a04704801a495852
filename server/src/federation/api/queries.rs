//! Answers other servers about users, aliases and published rooms. Server-Server API, "Querying for
//! information" and "Published Room Directory".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use matriarch_rules::identifiers::server_name;
use serde::Deserialize;
use serde_json::{Value, json};

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::Query;

const PROFILE: &str = call!("matriarch.profile($1, $2)");
const ALIAS: &str = call!("matriarch.alias($1)");
const PUBLIC_ROOMS: &str = call!("matriarch.public_rooms(null, null, $1, $2)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/federation/v1/query/profile", get(profile))
        .route("/_matrix/federation/v1/query/directory", get(directory))
        .route("/_matrix/federation/v1/publicRooms", get(public_rooms).post(query_public_rooms))
}

#[derive(Deserialize)]
struct ProfileQuery {
    user_id: String,
    field: Option<String>,
}

/// `GET /_matrix/federation/v1/query/profile`
async fn profile(
    State(app): State<App>,
    Query(query): Query<ProfileQuery>,
    _: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    if server_name(&query.user_id) != Some(&app.config.server_name) {
        return Err(ApiError::not_found("The user is not of this server"));
    }
    app.call(PROFILE, &[&query.user_id, &query.field]).await
}

#[derive(Deserialize)]
struct DirectoryQuery {
    room_alias: String,
}

/// `GET /_matrix/federation/v1/query/directory`
async fn directory(
    State(app): State<App>,
    Query(query): Query<DirectoryQuery>,
    _: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(ALIAS, &[&query.room_alias]).await
}

/// `include_all_networks` and `third_party_instance_id` are accepted and have no effect: there are no other
/// networks.
#[derive(Deserialize)]
struct Page {
    limit: Option<i64>,
    since: Option<String>,
}

/// `GET /_matrix/federation/v1/publicRooms`
async fn public_rooms(
    State(app): State<App>,
    Query(Page { limit, since }): Query<Page>,
    asking: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let request = json!({ "limit": limit, "since": since }).to_string();
    app.call(PUBLIC_ROOMS, &[&request, &asking.origin]).await
}

/// `POST /_matrix/federation/v1/publicRooms`
async fn query_public_rooms(
    State(app): State<App>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let body = Value::Object(request.content.object()).to_string();
    app.call(PUBLIC_ROOMS, &[&body, &request.origin]).await
}
