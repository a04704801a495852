//! What servers ask each other about users and aliases. Server-Server API, "Querying for information" and "Published Room
//! Directory".

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::routing::get;
use matriarch_rules::identifiers::server_name;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::authentication::ServerRequest;
use super::client::{FederationError, Request};
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::Query;
use crate::state::AppState;

/// Bytes: profiles, aliases, and pages of room directories.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

const PROFILE: &str = "select status, body, wake_rooms, wake_users from matriarch.profile($1, $2)";
const ALIAS: &str = "select status, body, wake_rooms, wake_users from matriarch.alias($1)";
const PUBLIC_ROOMS: &str =
    "select status, body, wake_rooms, wake_users from matriarch.public_rooms(null, null, $1)";

/// The routes of this module.
pub fn routes() -> Router<AppState> {
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
    State(app): State<AppState>,
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
    State(app): State<AppState>,
    Query(query): Query<DirectoryQuery>,
    _: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(ALIAS, &[&query.room_alias]).await
}

/// `include_all_networks` and `third_party_instance_id` are taken and have no effect: there are no other networks.
#[derive(Deserialize)]
struct Page {
    limit: Option<i64>,
    since: Option<String>,
}

/// `GET /_matrix/federation/v1/publicRooms`
async fn public_rooms(
    State(app): State<AppState>,
    Query(Page { limit, since }): Query<Page>,
    _: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(PUBLIC_ROOMS, &[&json!({ "limit": limit, "since": since }).to_string()]).await
}

/// `POST /_matrix/federation/v1/publicRooms`
async fn query_public_rooms(
    State(app): State<AppState>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(PUBLIC_ROOMS, &[&Value::Object(request.content).to_string()]).await
}

/// Asks the server of a user for the profile, or for one field of it.
pub async fn remote_profile(
    app: &AppState,
    user_id: &str,
    field: Option<&str>,
) -> Result<Map<String, Value>, ApiError> {
    let server = server_name(user_id).unwrap_or_default();
    let mut path = format!("/_matrix/federation/v1/query/profile?user_id={}", encode(user_id));
    if let Some(field) = field {
        path += &format!("&field={}", encode(field));
    }
    ask(app, server, Method::GET, &path, None).await
}

/// Asks the server of an alias which room it names.
pub async fn remote_alias(app: &AppState, alias: &str) -> Result<Map<String, Value>, ApiError> {
    let server = server_name(alias).unwrap_or_default();
    let path = format!("/_matrix/federation/v1/query/directory?room_alias={}", encode(alias));
    ask(app, server, Method::GET, &path, None).await
}

/// Asks a server for a page of its published rooms. `request` is the body of the client's POST.
pub async fn remote_public_rooms(
    app: &AppState,
    server: &str,
    request: &Value,
) -> Result<Map<String, Value>, ApiError> {
    ask(app, server, Method::POST, "/_matrix/federation/v1/publicRooms", Some(request)).await
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// Asks another server on behalf of a client: what it answers in the negative is answered so, and a server that cannot be
/// reached is 502 `M_UNKNOWN`.
async fn ask(
    app: &AppState,
    server: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Map<String, Value>, ApiError> {
    let client = &app.federation.client;
    let timeout = client.timeout();
    let request = Request { method, destination: server, path, body, max_answer: MAX_ANSWER, timeout };
    client.send(&app.db, request).await.map_err(FederationError::for_client)
}
