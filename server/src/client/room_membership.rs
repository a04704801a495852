//! Client-Server API, "Room membership": joining, inviting, leaving, kicking, banning, knocking, forgetting.
//!
//! Users join rooms that this server is not in through resident servers, which `via` names.

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use matriarch_rules::identifiers::{is_room_alias, is_user_id};
use serde_json::{Map, Value, json};

use super::third_party_invites::{self, Invited, ThirdPartyId};
use crate::accounts::session::Session;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::queries::find_room;
use crate::federation::remote_invites;
use crate::federation::remote_membership::{Action, RemoteMembership};
use crate::http::{AccessToken, ClientRoutes, JsonBody, Path, RawJsonBody, RawJsonBodyOrEmpty, Via};

/// The routes of this module.
pub fn routes() -> Router<App> {
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

const JOIN: &str = call!("matriarch.join($1, $2, $3)");
const FORGET: &str = call!("matriarch.forget($1, $2)");
const SET_MEMBERSHIP: &str = call!("matriarch.set_membership($1, $2, $3, $4)");

type Answer = Result<MatrixResponse, ApiError>;

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`, `POST /_matrix/client/v3/rooms/{roomId}/join`
async fn join(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    Via(via): Via,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    if let Some(signed) = third_party_signed(&body)? {
        let session = Session::of(&app.db, &token).await?;
        third_party_invites::accept(&app, &session.user_id, &room, signed).await?;
    }
    join_or_knock(&app, token, &room, via, &body, Action::Join).await
}

/// What an identity server signed about the joining user. Other errors of the body are found when the rest is
/// read.
fn third_party_signed(body: &str) -> Result<Option<Value>, ApiError> {
    match serde_json::from_str::<Map<String, Value>>(body)
        .ok()
        .and_then(|mut it| it.remove("third_party_signed"))
    {
        None | Some(Value::Null) => Ok(None),
        Some(signed @ Value::Object(_)) => Ok(Some(signed)),
        Some(_) => Err(ApiError::bad_json("`third_party_signed` must be an object")),
    }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
async fn forget(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    _: RawJsonBodyOrEmpty,
) -> Answer {
    app.call(FORGET, &[&token.hash(), &room]).await
}

/// `POST /_matrix/client/v3/knock/{roomIdOrAlias}`
async fn knock(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    Via(via): Via,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    join_or_knock(&app, token, &room, via, &body, Action::Knock).await
}

/// Joins a room or knocks on it, through another server if this one is not in the room.
async fn join_or_knock(
    app: &App,
    token: AccessToken,
    room: &str,
    via: Vec<String>,
    body: &str,
    action: Action,
) -> Answer {
    let response = join_or_knock_here(app, token, room, body, action).await?;
    if !must_ask_other_servers(app, room, &response) {
        return Ok(response);
    }
    let session = Session::of(&app.db, &token).await?;
    let (room_id, mut servers) = find_room(&app.federation, room).await?;
    servers.extend(via);
    // An alias may name a room that this server is in.
    if room_id != room {
        let response = join_or_knock_here(app, token, &room_id, body, action).await?;
        if !response.is_elsewhere() {
            return Ok(response);
        }
    }
    remote_membership(app, token, &session, body).ask_in_turn(action, &room_id, servers).await?;
    Ok(MatrixResponse::of(json!({ "room_id": room_id })))
}

async fn join_or_knock_here(app: &App, token: AccessToken, room: &str, body: &str, action: Action) -> Answer {
    match action {
        Action::Join => app.call(JOIN, &[&token.hash(), &room, &body]).await,
        Action::Knock | Action::Leave => {
            app.call(SET_MEMBERSHIP, &[&token.hash(), &room, &action.name(), &body]).await
        }
    }
}

fn remote_membership<'a>(
    app: &'a App,
    token: AccessToken,
    session: &'a Session,
    body: &'a str,
) -> RemoteMembership<'a> {
    let (federation, partial_joins, user_id) = (&app.federation, &app.partial_joins, &session.user_id);
    RemoteMembership { federation, partial_joins, token, user_id, body }
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
async fn leave(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    RawJsonBodyOrEmpty(body): RawJsonBodyOrEmpty,
) -> Answer {
    let response = app.call(SET_MEMBERSHIP, &[&token.hash(), &room, &"leave", &body]).await?;
    if !must_ask_other_servers(&app, &room, &response) {
        return Ok(response);
    }
    let session = Session::of(&app.db, &token).await?;
    remote_membership(&app, token, &session, &body).leave(&room).await
}

/// Whether to ask other servers: this one is not in the room, or the alias is of another server.
fn must_ask_other_servers(app: &App, room: &str, response: &MatrixResponse) -> bool {
    let is_elsewhere = response.is_elsewhere() || is_room_alias(room) && app.federation.is_elsewhere(room);
    !response.status.is_success() && is_elsewhere && app.federation.is_enabled()
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
async fn invite(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    JsonBody(request): JsonBody<Map<String, Value>>,
) -> Answer {
    invite_user(&app, token, &room, request).await
}

/// Invites by user id or third-party id.
pub async fn invite_user(
    app: &App,
    token: AccessToken,
    room: &str,
    mut request: Map<String, Value>,
) -> Answer {
    if !request.contains_key("user_id") && request.contains_key("address") {
        let id = ThirdPartyId::of(&request)?;
        match third_party_invites::invite(app, token, room, id).await? {
            Invited::Answered(answer) => return Ok(answer),
            Invited::User(user_id) => request.insert("user_id".to_owned(), user_id.into()),
        };
    }
    let target = request.get("user_id").and_then(Value::as_str).unwrap_or_default().to_owned();
    if is_user_id(&target) && app.federation.is_elsewhere(&target) {
        let reason = request.into_iter().filter(|(key, value)| key == "reason" && !value.is_null());
        let content = Value::Object(reason.collect()).to_string();
        let answer = remote_invites::invite(&app.federation, &token, room, &target, &content).await?;
        return Ok(if answer.status.is_success() { MatrixResponse::of(json!({})) } else { answer });
    }
    let body = Value::Object(request).to_string();
    app.call(SET_MEMBERSHIP, &[&token.hash(), &room, &"invite", &body]).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
async fn kick(app: State<App>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "kick", body.0).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
async fn ban(app: State<App>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "ban", body.0).await
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
async fn unban(app: State<App>, token: AccessToken, room: Path<String>, body: RawJsonBody) -> Answer {
    set_membership(app, token, room, "unban", body.0).await
}

async fn set_membership(
    State(app): State<App>,
    token: AccessToken,
    Path(room): Path<String>,
    action: &'static str,
    body: String,
) -> Answer {
    app.call(SET_MEMBERSHIP, &[&token.hash(), &room, &action, &body]).await
}
