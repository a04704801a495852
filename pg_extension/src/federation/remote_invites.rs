//! Remote invites: local users invite remote users. Server-Server API, "Inviting to a room".
//!
//! The invited user's server signs the invite before it is appended.

use matriarch_rules::identifiers::is_user_id;
use matriarch_wire::PreparedInvite;
use pgrx::pg_extern;
use serde_json::Value;

use crate::{
    append::{self, LocalEvent},
    base::{
        request,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::Mode,
    },
    client::sync::SHOWN_TO_OUTSIDERS,
    room::Room,
};

/// Makes and signs the event that invites a remote user, without appending it: the user's server signs it
/// first. `content` is that of the event; it may lack `membership`.
///
/// Returns [`PreparedInvite`]. The errors are those of an invite.
#[pg_extern(volatile)]
fn prepare_invite(token_hash: &[u8], room_id: &str, user_id: &str, content: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        if !is_user_id(user_id) {
            return Err(MatrixError::invalid_param(format!("{user_id:?} is not a user id.")));
        }
        let mut content = request::object(content)?;
        content.insert("membership".to_owned(), "invite".into());
        if content.get("reason").is_some_and(|reason| !reason.is_string()) {
            return Err(MatrixError::bad_json("`reason` must be a string."));
        }
        Room::with(db, room_id, |room| {
            let prepared = prepared(room, LocalEvent::state(&user, "m.room.member", user_id, content))?;
            Ok(Response::wire(&prepared))
        })
        .unwrap_or_else(|| Err(MatrixError::not_found("This server is not in the room.")))
    })
}

/// An invite that is not appended yet, with what the user's server is sent.
pub fn prepared(room: &mut Room<'_>, invite: LocalEvent<'_>) -> Result<PreparedInvite> {
    let inviter = invite.sender.id.clone();
    let built = append::prepare(room, invite)?;
    let keys = SHOWN_TO_OUTSIDERS.map(|event_type| (event_type, ""));
    room.load(keys);
    // The inviter's member event tells the invited user who invites.
    let invite_room_state = keys
        .into_iter()
        .chain([("m.room.member", inviter.as_str())])
        .filter_map(|(event_type, state_key)| room.state(event_type, state_key))
        .map(|state| Value::Object(state.event.json().clone()))
        .collect();
    Ok(PreparedInvite {
        event_id: built.event.event_id().to_owned(),
        event: built.event.json().clone(),
        room_version: room.version.id.to_owned(),
        invite_room_state,
        policy_server: room.policy_server().map(|policy| policy.via),
    })
}
