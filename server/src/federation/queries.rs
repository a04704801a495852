//! Asks other servers about their users, aliases and published rooms. Server-Server API, "Querying for
//! information" and "Published Room Directory".

use axum::http::Method;
use matriarch_rules::identifiers::{is_room_alias, server_name};
use serde_json::{Map, Value};

use super::base::Federation;
use super::http_client::{FederationError, Request};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::call;

/// The longest profiles and aliases that are read, in bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// The longest page of a room directory.
const MAX_PAGE: usize = 4 * 1024 * 1024;

const ALIAS: &str = call!("matriarch.alias($1)");

/// Asks a user's server for the profile, or for one field of it.
pub async fn remote_profile(
    federation: &Federation,
    user_id: &str,
    field: Option<&str>,
) -> Result<Map<String, Value>, ApiError> {
    let server = server_name(user_id).unwrap_or_default();
    let mut path = format!("/_matrix/federation/v1/query/profile?user_id={}", encode(user_id));
    if let Some(field) = field {
        path += &format!("&field={}", encode(field));
    }
    ask(federation, server, Method::GET, &path, None, MAX_ANSWER).await
}

/// Asks an alias's server for the room id and servers.
pub async fn remote_alias(federation: &Federation, alias: &str) -> Result<Map<String, Value>, ApiError> {
    let server = server_name(alias).unwrap_or_default();
    let path = format!("/_matrix/federation/v1/query/directory?room_alias={}", encode(alias));
    ask(federation, server, Method::GET, &path, None, MAX_ANSWER).await
}

/// The room that a room id or alias names, and servers in it according to the alias's server (none for a room
/// id).
pub async fn find_room(federation: &Federation, room: &str) -> Result<(String, Vec<String>), ApiError> {
    if !is_room_alias(room) {
        return Ok((room.to_owned(), Vec::new()));
    }
    let found = if federation.is_elsewhere(room) {
        remote_alias(federation, room).await?
    } else {
        let answer = federation.call(ALIAS, &[&room]).await?;
        serde_json::from_str(&answer.body).map_err(|_| ApiError::internal())?
    };
    let room_id = found.get("room_id").and_then(Value::as_str).filter(|room_id| room_id.starts_with('!'));
    let room_id = room_id.ok_or_else(|| ApiError::not_found("The alias names no room"))?;
    let servers = found.get("servers").and_then(Value::as_array).into_iter().flatten();
    let servers = servers.filter_map(Value::as_str).map(str::to_owned).collect();
    Ok((room_id.to_owned(), servers))
}

/// Asks a server for a page of its published rooms. `request` is the body of the client's POST.
pub async fn remote_public_rooms(
    federation: &Federation,
    server: &str,
    request: &Value,
) -> Result<Map<String, Value>, ApiError> {
    ask(federation, server, Method::POST, "/_matrix/federation/v1/publicRooms", Some(request), MAX_PAGE).await
}

/// Asks another server on behalf of a client. Errors are those of [`FederationError::for_client`].
async fn ask(
    federation: &Federation,
    server: &str,
    method: Method,
    path: &str,
    body: Option<&Value>,
    max_answer: usize,
) -> Result<Map<String, Value>, ApiError> {
    let timeout = federation.http.timeout();
    let request = Request { method, destination: server, path, body, max_answer, timeout };
    federation.http.send(request).await.map(Map::from).map_err(FederationError::for_client)
}
