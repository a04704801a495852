//! Client-Server API, "Server-side key backups".

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use serde::Deserialize;

use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::http::{AccessToken, ClientRoutes, Path, Query, RawJsonBody};

/// The endpoints of this file. Clients from before v1.1 use paths below `unstable`.
pub fn routes() -> Router<App> {
    let versions = || post(create_version).get(current_version);
    let version = || get(version).put(update_version).delete(delete_version);
    let keys = || get(keys).put(set_keys).delete(delete_keys);
    let room_keys = || get(room_keys).put(set_room_keys).delete(delete_room_keys);
    let key = || get(key).put(set_key).delete(delete_key);
    Router::new()
        .client_v3("/room_keys/version", versions())
        .client_v3("/room_keys/version/{version}", version())
        .client_v3("/room_keys/keys", keys())
        .client_v3("/room_keys/keys/{room_id}", room_keys())
        .client_v3("/room_keys/keys/{room_id}/{session_id}", key())
        .client_unstable("/room_keys/version", versions())
        .client_unstable("/room_keys/version/{version}", version())
        .client_unstable("/room_keys/keys", keys())
        .client_unstable("/room_keys/keys/{room_id}", room_keys())
        .client_unstable("/room_keys/keys/{room_id}/{session_id}", key())
}

const CREATE: &str = call!("matriarch.create_key_backup($1, $2)");

const READ: &str = call!("matriarch.key_backup($1, $2)");

const UPDATE: &str = call!("matriarch.update_key_backup($1, $2, $3)");

const DELETE: &str = call!("matriarch.delete_key_backup($1, $2)");

/// `POST /_matrix/client/v3/room_keys/version`
async fn create_version(
    State(app): State<App>,
    token: AccessToken,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(CREATE, &[&token.hash(), &content]).await
}

/// `GET /_matrix/client/v3/room_keys/version`
async fn current_version(State(app): State<App>, token: AccessToken) -> Result<MatrixResponse, ApiError> {
    app.call(READ, &[&token.hash(), &None::<String>]).await
}

/// `GET /_matrix/client/v3/room_keys/version/{version}`
async fn version(
    State(app): State<App>,
    token: AccessToken,
    Path(version): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(READ, &[&token.hash(), &version]).await
}

/// `PUT /_matrix/client/v3/room_keys/version/{version}`
async fn update_version(
    State(app): State<App>,
    token: AccessToken,
    Path(version): Path<String>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(UPDATE, &[&token.hash(), &version, &content]).await
}

/// `DELETE /_matrix/client/v3/room_keys/version/{version}`
async fn delete_version(
    State(app): State<App>,
    token: AccessToken,
    Path(version): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE, &[&token.hash(), &version]).await
}

#[derive(Deserialize)]
struct KeysQuery {
    version: String,
}

const SET_KEYS: &str = call!("matriarch.set_backup_keys($1, $2, $3, $4, $5)");

const KEYS: &str = call!("matriarch.backup_keys($1, $2, $3, $4)");

const DELETE_KEYS: &str = call!("matriarch.delete_backup_keys($1, $2, $3, $4)");

/// `PUT /_matrix/client/v3/room_keys/keys`
async fn set_keys(
    State(app): State<App>,
    token: AccessToken,
    Query(query): Query<KeysQuery>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let (room_id, session_id) = (None::<String>, None::<String>);
    app.call(SET_KEYS, &[&token.hash(), &query.version, &room_id, &session_id, &content]).await
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}`
async fn set_room_keys(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(query): Query<KeysQuery>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET_KEYS, &[&token.hash(), &query.version, &room_id, &None::<String>, &content]).await
}

/// `PUT /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn set_key(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<KeysQuery>,
    RawJsonBody(content): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET_KEYS, &[&token.hash(), &query.version, &room_id, &session_id, &content]).await
}

/// `GET /_matrix/client/v3/room_keys/keys`
async fn keys(
    State(app): State<App>,
    token: AccessToken,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(KEYS, &[&token.hash(), &query.version, &None::<String>, &None::<String>]).await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}`
async fn room_keys(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(KEYS, &[&token.hash(), &query.version, &room_id, &None::<String>]).await
}

/// `GET /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn key(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(KEYS, &[&token.hash(), &query.version, &room_id, &session_id]).await
}

/// `DELETE /_matrix/client/v3/room_keys/keys`
async fn delete_keys(
    State(app): State<App>,
    token: AccessToken,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_KEYS, &[&token.hash(), &query.version, &None::<String>, &None::<String>]).await
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}`
async fn delete_room_keys(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_KEYS, &[&token.hash(), &query.version, &room_id, &None::<String>]).await
}

/// `DELETE /_matrix/client/v3/room_keys/keys/{roomId}/{sessionId}`
async fn delete_key(
    State(app): State<App>,
    token: AccessToken,
    Path((room_id, session_id)): Path<(String, String)>,
    Query(query): Query<KeysQuery>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_KEYS, &[&token.hash(), &query.version, &room_id, &session_id]).await
}
