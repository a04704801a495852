//! Client-Server API, "Published room directory".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::queries;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path, Query};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/directory/list/room/{room_id}", get(room_visibility).put(set_room_visibility))
        .client_v3("/publicRooms", get(public_rooms).post(query_public_rooms))
}

const VISIBILITY: &str = call!("matriarch.room_visibility($1)");
const SET_VISIBILITY: &str = call!("matriarch.set_room_visibility($1, $2, $3)");
const PUBLIC_ROOMS: &str = call!("matriarch.public_rooms($1, $2, $3, null)");

/// `GET /_matrix/client/v3/directory/list/room/{roomId}`
async fn room_visibility(
    State(app): State<App>,
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
    State(app): State<App>,
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
/// Asks other servers only for authenticated users.
async fn public_rooms(
    State(app): State<App>,
    token: Option<AccessToken>,
    Query(query): Query<PublicRooms>,
) -> Result<MatrixResponse, ApiError> {
    let request = json!({ "limit": query.limit, "since": query.since });
    if let Some(server) = query.server.as_deref().filter(|server| app.federation.is_other_server(server)) {
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
    State(app): State<App>,
    token: AccessToken,
    Query(query): Query<Server>,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Result<MatrixResponse, ApiError> {
    let request = Value::Object(request);
    if let Some(server) = query.server.as_deref().filter(|server| app.federation.is_other_server(server)) {
        return ask_for_public_rooms(&app, &token, server, &request).await;
    }
    app.call(PUBLIC_ROOMS, &[&Some(token.hash()), &query.server, &request.to_string()]).await
}

async fn ask_for_public_rooms(
    app: &App,
    token: &AccessToken,
    server: &str,
    request: &Value,
) -> Result<MatrixResponse, ApiError> {
    Session::of(&app.db, token).await?;
    let page = queries::remote_public_rooms(&app.federation, server, request).await?;
    Ok(MatrixResponse::of(Value::Object(page)))
}
