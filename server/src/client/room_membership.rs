//! Client-Server API, "Room membership": joining, inviting, leaving, kicking, banning, knocking, forgetting.
//!
//! `via` and `server_name` are of no use before there is federation, and ignored.

use axum::Router;
use axum::extract::State;
use axum::routing::post;

use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Path, RawJsonBody, RawJsonBodyOrEmpty};
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new()
        .client_v3("/join/{room_id_or_alias}", post(join))
        .client_v3("/knock/{room_id_or_alias}", post(knock))
        .client_unstable("/xyz.amorgan.knock/knock/{room_id_or_alias}", post(knock))
        .client_v3("/rooms/{room_id}/join", post(join))
        .client_v3("/rooms/{room_id}/leave", post(leave))
        .client_v3("/rooms/{room_id}/forget", post(forget))
        .client_v3("/rooms/{room_id}/invite", post(invite))
        .client_v3("/rooms/{room_id}/kick", post(kick))
        .client_v3("/rooms/{room_id}/ban", post(ban))
        .client_v3("/rooms/{room_id}/unban", post(unban))
}

const JOIN: &str = "select status, body, wake_rooms, wake_users from matriarch.join($1, $2, $3)";
const FORGET: &str = "select status, body, wake_rooms, wake_users from matriarch.forget($1, $2)";
const SET_MEMBERSHIP: &str =
    "select status, body, wake_rooms, wake_users from matriarch.set_membership($1, $2, $3, $4)";

type Answer = Result<MatrixResponse, ApiError>;

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/join`
async fn join(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room): Path<String>,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    app.call(JOIN, &[&token.hash(), &room, &body]).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
async fn forget(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room): Path<String>,
    _: RawJsonBodyOrEmpty,
) -> Answer {
    app.call(FORGET, &[&token.hash(), &room]).await
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
async fn knock(
    app: State<AppState>,
    token: AccessToken,
    room: Path<String>,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    set_membership(app, token, room, "knock", body).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
async fn leave(
    app: State<AppState>,
    token: AccessToken,
    room: Path<String>,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    set_membership(app, token, room, "leave", body).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
async fn invite(app: State<AppState>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "invite", body.0).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
async fn kick(app: State<AppState>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "kick", body.0).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
async fn ban(app: State<AppState>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "ban", body.0).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
async fn unban(app: State<AppState>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "unban", body.0).await
}

async fn set_membership(
    State(app): State<AppState>,
    token: AccessToken,
    Path(room): Path<String>,
    action: &'static str,
    body: String,
) -> Answer {
    app.call(SET_MEMBERSHIP, &[&token.hash(), &room, &action, &body]).await
}
