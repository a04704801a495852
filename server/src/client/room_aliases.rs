//! Client-Server API, "Room aliases".

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use matriarch_rules::identifiers::is_room_alias;
use serde::Deserialize;
use serde_json::Value;

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::queries;
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v3("/directory/room/{alias}", get(alias).put(set_alias).delete(delete_alias))
        .client_v3("/rooms/{room_id}/aliases", get(room_aliases))
        .client_unstable("/org.matrix.msc2432/rooms/{room_id}/aliases", get(room_aliases))
}

const ALIAS: &str = call!("matriarch.alias($1)");
const SET_ALIAS: &str = call!("matriarch.set_alias($1, $2, $3)");
const DELETE_ALIAS: &str = call!("matriarch.delete_alias($1, $2)");
const ROOM_ALIASES: &str = call!("matriarch.room_aliases($1, $2)");

/// `GET /_matrix/client/v3/directory/room/{roomAlias}`
///
/// Asks other servers only for authenticated users.
async fn alias(
    State(app): State<App>,
    token: Option<AccessToken>,
    Path(alias): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    if is_room_alias(&alias) && app.federation.is_elsewhere(&alias) {
        Session::of(&app.db, &token.ok_or_else(ApiError::missing_token)?).await?;
        return Ok(MatrixResponse::of(Value::Object(queries::remote_alias(&app.federation, &alias).await?)));
    }
    app.call(ALIAS, &[&alias]).await
}

#[derive(Deserialize)]
struct AliasTarget {
    room_id: String,
}

/// `PUT /_matrix/client/v3/directory/room/{roomAlias}`
async fn set_alias(
    State(app): State<App>,
    token: AccessToken,
    Path(alias): Path<String>,
    JsonBody(body): JsonBody<AliasTarget>,
) -> Result<MatrixResponse, ApiError> {
    app.call(SET_ALIAS, &[&token.hash(), &alias, &body.room_id]).await
}

/// `DELETE /_matrix/client/v3/directory/room/{roomAlias}`
async fn delete_alias(
    State(app): State<App>,
    token: AccessToken,
    Path(alias): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(DELETE_ALIAS, &[&token.hash(), &alias]).await
}

/// `GET /_matrix/client/v3/rooms/{roomId}/aliases`
async fn room_aliases(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
) -> Result<MatrixResponse, ApiError> {
    app.call(ROOM_ALIASES, &[&token.hash(), &room_id]).await
}
