//! Client-Server API, "Spaces", and the summary of a room.

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use matriarch_rules::identifiers::{is_room_alias, server_name};
use matriarch_wire::RoomQuestion;
use serde::Deserialize;
use tokio::time::Instant;

use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::hierarchy::{Asked, TIMEOUT, as_json};
use crate::federation::queries::find_room;
use crate::http::{AccessToken, ClientRoutes, Path, Query, Via};

/// How many rounds of requests to other servers one answer may take: the answers about a space name further
/// rooms.
const MAX_ROUNDS: usize = 10;

const HIERARCHY: &str = call!("matriarch.hierarchy($1, $2, $3, $4, $5, $6, $7)", needs);
const ROOM_SUMMARY: &str = call!("matriarch.room_summary($1, $2, $3)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .client_v1("/rooms/{room_id}/hierarchy", get(hierarchy))
        .client_v1("/room_summary/{room_id_or_alias}", get(room_summary))
        .client_unstable("/im.nheko.summary/summary/{room_id_or_alias}", get(room_summary))
}

#[derive(Deserialize)]
struct Parameters {
    from: Option<String>,
    limit: Option<i64>,
    max_depth: Option<i64>,
    #[serde(default)]
    suggested_only: bool,
}

/// `GET /_matrix/client/v1/rooms/{roomId}/hierarchy`
async fn hierarchy(
    State(app): State<App>,
    token: AccessToken,
    Path(room_id): Path<String>,
    Query(Parameters { from, limit, max_depth, suggested_only }): Query<Parameters>,
) -> Result<MatrixResponse, ApiError> {
    let deadline = Instant::now() + TIMEOUT;
    let hash = token.hash();
    let mut answers: Vec<Asked> = Vec::new();
    for round in 1.. {
        let answered = as_json(&answers)?;
        let row = app
            .db
            .query_opt(HIERARCHY, &[&hash, &room_id, &from, &limit, &max_depth, &suggested_only, &answered])
            .await?
            .ok_or_else(ApiError::internal)?;
        let needs: Option<String> = row.try_get("needs").map_err(|_| ApiError::internal())?;
        let is_final = !app.federation.is_enabled() || round > MAX_ROUNDS || Instant::now() >= deadline;
        let Some(needs) = needs.filter(|_| !is_final) else { return MatrixResponse::from_row(&row) };
        let wanted: Vec<RoomQuestion> = serde_json::from_str(&needs).map_err(|_| ApiError::internal())?;
        answers.extend(app.hierarchies.ask(wanted, deadline).await);
    }
    Err(ApiError::internal())
}

/// `GET /_matrix/client/v1/room_summary/{roomIdOrAlias}`
async fn room_summary(
    State(app): State<App>,
    token: Option<AccessToken>,
    Path(room): Path<String>,
    Via(mut via): Via,
) -> Result<MatrixResponse, ApiError> {
    let deadline = Instant::now() + TIMEOUT;
    let hash = token.as_ref().map(AccessToken::hash);
    let is_elsewhere = is_room_alias(&room) && app.federation.is_elsewhere(&room);
    if !is_elsewhere {
        let response = app.call(ROOM_SUMMARY, &[&hash, &room, &None::<String>]).await?;
        // Ask other servers only for authenticated users.
        if !response.is_elsewhere() || token.is_none() || !app.federation.is_enabled() {
            return Ok(response);
        }
    }
    let Some(token) = &token else {
        return Err(ApiError::not_found("There is no such room, or you may not see it."));
    };
    Session::of(&app.db, token).await?;
    let (room_id, of_alias) = find_room(&app.federation, &room).await?;
    via.extend(of_alias);
    via.extend(server_name(&room_id).map(str::to_owned));
    let wanted = vec![RoomQuestion { room_id: room_id.clone(), via }];
    let answers = app.hierarchies.ask(wanted, deadline).await;
    app.call(ROOM_SUMMARY, &[&hash, &room_id, &as_json(&answers)?]).await
}
