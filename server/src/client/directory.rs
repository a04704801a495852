//! Room aliases, and the published room directory.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use matriarch_rules::identifiers::is_room_alias;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::accounts::session::Session;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::federation::queries;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path, Query};
use crate::state::AppState;

/// The endpoints of this file.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/directory/room/{alias}", get(alias).put(set_alias).delete(delete_alias))
        .client_v3("/rooms/{room_id}/aliases", get(room_aliases))
        .client_unstable("/org.matrix.msc2432/rooms/{room_id}/aliases", get(room_aliases))
        .client_v3("/directory/list/room/{room_id}", get(room_visibility).put(set_room_visibility))
        .client_v3("/publicRooms", get(public_rooms).post(query_public_rooms))
}

const ALIAS: &str = "select status, body, wake_rooms, wake_users from matriarch.alias($1)";

const SET_ALIAS: &str = "select status, body, wake_rooms, wake_users from matriarch.set_alias($1, $2, $3)";

const DELETE_ALIAS: &str = "select status, body, wake_rooms, wake_users from matriarch.delete_alias($1, $2)";

const ROOM_ALIASES: &str = "select status, body, wake_rooms, wake_users from matriarch.room_aliases($1, $2)";

const VISIBILITY: &str = "select status, body, wake_rooms, wake_users from matriarch.room_visibility($1)";

const SET_VISIBILITY: &str =
    "select status, body, wake_rooms, wake_users from matriarch.set_room_visibility($1, $2, $3)";

const PUBLIC_ROOMS: &str =
    "select status, body, wake_rooms, wake_users from matriarch.public_rooms($1, $2, $3)";

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
async fn alias(State(app): State<AppState>, Path(alias): Path<String>) -> Result<MatrixResponse, ApiError> {
    if is_room_alias(&alias) && app.is_elsewhere(&alias) {
        return Ok(MatrixResponse::of(Value::Object(queries::remote_alias(&app, &alias).await?)));
    }
    app.call(ALIAS, &[&alias]).await
}

#[derive(Deserialize)]
struct AliasTarget {
    room_id: String,
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
async fn set_alias(
    State(app): State<AppState>,
    token: AccessToken,
    Path(alias): Path<String>,
    JsonBody(body): JsonBody<AliasTarget>,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET_ALIAS, &[&token.hash(), &alias, &body.room_id]).await
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
async fn delete_alias(
    State(app): State<AppState>,
    token: AccessToken,
    Path(alias): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_ALIAS, &[&token.hash(), &alias]).await
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
async fn room_aliases(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(ROOM_ALIASES, &[&token.hash(), &room_id]).await
}

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
async fn room_visibility(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(VISIBILITY, &[&room_id]).await
}

#[derive(Deserialize)]
struct Visibility {
    visibility: Option<String>,
}

/// `PUT /_matrix/client/v3/directory/list/room/{roomId}`
async fn set_room_visibility(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room_id): Path<String>,
    JsonBody(body): JsonBody<Visibility>,
) -> Result<MatrixResponse, ApiError> {
    let visibility = body.visibility.as_deref().unwrap_or("public");
    app.call(SET_VISIBILITY, &[&token.hash(), &room_id, &visibility]).await
}

#[derive(Deserialize)]
struct PublicRooms {
    limit: Option<i64>,
    since: Option<String>,
    server: Option<String>,
}

/// `GET /_matrix/client/v3/publicRooms`
///
/// Other servers are asked only for those who are known here.
async fn public_rooms(
    State(app): State<AppState>,
    token: Option<AccessToken>,
    Query(query): Query<PublicRooms>,
) -> Result<MatrixResponse, ApiError> {
    let request = json!({ "limit": query.limit, "since": query.since });
    if let Some(server) = query.server.as_deref().filter(|server| app.is_other_server(server)) {
        let token = token.ok_or_else(ApiError::missing_token)?;
        return ask_for_public_rooms(&app, &token, server, &request).await;
    }
    app.call(PUBLIC_ROOMS, &[&None::<&[u8]>, &query.server, &request.to_string()]).await
}

#[derive(Deserialize)]
struct Server {
    server: Option<String>,
}

/// `POST /_matrix/client/v3/publicRooms`
async fn query_public_rooms(
    State(app): State<AppState>,
    token: AccessToken,
    Query(query): Query<Server>,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let request = Value::Object(request);
    if let Some(server) = query.server.as_deref().filter(|server| app.is_other_server(server)) {
        return ask_for_public_rooms(&app, &token, server, &request).await;
    }
    app.call(PUBLIC_ROOMS, &[&Some(token.hash()), &query.server, &request.to_string()]).await
}

async fn ask_for_public_rooms(
    app: &AppState,
    token: &AccessToken,
    server: &str,
    request: &Value,
) -> Result<MatrixResponse, ApiError> {
    Session::of(&app.db, token).await?;
    let page = queries::remote_public_rooms(app, server, request).await?;
    Ok(MatrixResponse::of(Value::Object(page)))
}
