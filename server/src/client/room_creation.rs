//! Client-Server API, "Room creation".

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use matriarch_rules::identifiers::is_user_id;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tracing::info;

use super::room_membership::invite_user;
use super::third_party_invites::ThirdPartyId;
use crate::app::App;
use crate::base::error::ApiError;
use crate::database::{MatrixResponse, call};
use crate::federation::remote_invites;
use crate::http::{AccessToken, ClientRoutes, RawJsonBody};

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/createRoom", post(create_room))
}

const CREATE_ROOM: &str = call!("matriarch.create_room($1, $2, $3, $4, $5)");

/// The part of the body that the node needs. The SQL function parses the whole body, and refuses a malformed
/// one.
#[derive(Default, Deserialize)]
struct Invited {
    invite: Option<Vec<String>>,
    is_direct: Option<bool>,
}

#[derive(Deserialize)]
struct Room {
    room_id: String,
}

/// The most third-party invites in a request: each takes a request to an identity server.
const MAX_INVITES: usize = 20;

/// `POST /_matrix/client/v3/createRoom`
///
/// Third-party invites are sent after the room is created. A refused one does not undo the creation.
async fn create_room(
    State(app): State<App>,
    token: AccessToken,
    RawJsonBody(body): RawJsonBody,
) -> Result<MatrixResponse, ApiError> {
    let (body, by_address) = match app.config.identity.servers.is_empty() {
        true => (body, Vec::new()),
        false => without_third_parties(body)?,
    };
    let invited: Invited = serde_json::from_str(&body).unwrap_or_default();
    let mut remote_users = invited.invite.unwrap_or_default();
    remote_users.retain(|user_id| is_user_id(user_id) && app.federation.is_elsewhere(user_id));
    remote_users.sort_unstable();
    remote_users.dedup();
    let versions = &app.config.room_versions;
    let (default, available) = (versions.default_version(), versions.available());
    let created = app.call(CREATE_ROOM, &[&token.hash(), &body, &remote_users, &default, &available]).await?;
    if !created.status.is_success() || remote_users.is_empty() && by_address.is_empty() {
        return Ok(created);
    }
    let room: Room = serde_json::from_str(&created.body).map_err(|_| ApiError::internal())?;
    let content = if invited.is_direct == Some(true) { json!({ "is_direct": true }) } else { json!({}) };
    remote_invites::invite_all(&app.federation, &token, &room.room_id, &remote_users, &content).await;
    for invite in by_address {
        match invite_user(&app, token, &room.room_id, invite).await {
            Ok(answer) if answer.status.is_success() => {}
            Ok(answer) => info!(status = %answer.status, "an invite to a new room is refused"),
            Err(error) => info!(errcode = &*error.errcode, "an invite to a new room failed"),
        }
    }
    Ok(created)
}

/// Removes the third-party invites from a request, and returns them.
fn without_third_parties(body: String) -> Result<(String, Vec<Map<String, Value>>), ApiError> {
    let Ok(mut request) = serde_json::from_str::<Map<String, Value>>(&body) else {
        return Ok((body, Vec::new()));
    };
    let Some(invites) = request.remove("invite_3pid") else { return Ok((body, Vec::new())) };
    let invites: Vec<Map<String, Value>> = serde_json::from_value(invites)
        .map_err(|_| ApiError::bad_json("`invite_3pid` must be an array of objects"))?;
    if invites.len() > MAX_INVITES {
        return Err(ApiError::invalid_param("`invite_3pid` has too many invites"));
    }
    for invite in &invites {
        ThirdPartyId::of(invite)?;
    }
    Ok((Value::Object(request).to_string(), invites))
}
