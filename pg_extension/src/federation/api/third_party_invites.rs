//! Turns invites by third-party id into invites of users. Server-Server API, "Third-party invites".

use matriarch_rules::{
    Map,
    auth::{InviteKey, signing_keys},
    identifiers::server_name,
};
use matriarch_wire::{IdentityKey, ProvedInvite};
use pgrx::pg_extern;
use serde_json::{Value, json};

use super::asked_room;
use crate::{
    append::LocalEvent,
    base::{
        request::Body,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        spi::{Db, Mode},
        users::{self, User},
    },
    client::room_membership::set_member,
    federation::remote_invites::prepared,
    room::Room,
};

const IS_ACCOUNT: &str = "
    select
    from users u
    join accounts a using (user_nid)
    where u.user_id = $1 and a.deactivated_at is null";

/// Makes the invite of a user who has proved to own a third-party id. Appends it if `append` is true.
///
/// `origin` is the user's server, which sent the request; NULL if an identity server sent it for a local
/// user. `invite` is the partial event. The response of an invite that is not appended is [`ProvedInvite`].
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` for an event that is no such invite; 403 `M_FORBIDDEN` for what the room does not
/// allow; 409 `M_FORBIDDEN` for a user who is in the room or invited. 404 `M_NOT_FOUND` with
/// [`Outcome::Elsewhere`](matriarch_wire::Outcome) if another server must be asked: that of the user who made
/// the third-party invite.
#[pg_extern(volatile)]
fn third_party_invite(origin: Option<&str>, room_id: &str, invite: &str, append: bool) -> ResponseRows {
    respond(Mode::Write, |db| {
        let invite = Body::parse(invite)?;
        let (sender, target) = (invite.required_string("sender")?, invite.required_string("state_key")?);
        let signed = signed_of(&invite).ok_or_else(|| {
            MatrixError::invalid_param("The invite has no signed proof of the third-party id.")
        })?;
        if invite.string("type")? != Some("m.room.member") || invite.string("room_id")? != Some(room_id) {
            return Err(MatrixError::invalid_param("The event is not an invite to this room."));
        }
        match origin {
            Some(origin) if server_name(target) != Some(origin) => {
                return Err(MatrixError::forbidden("The user is not on your server."));
            }
            None if target.contains('\0') || db.query_opt(IS_ACCOUNT, &[target.into()]).is_none() => {
                return Err(MatrixError::not_found("There is no such user."));
            }
            _ => {}
        }
        let ask_other_server = || MatrixError::not_found("This server is not in the room.").or_elsewhere();
        Room::with(db, room_id, |room| {
            if room.is_elsewhere() {
                return Err(ask_other_server());
            }
            if let Some(origin) = origin {
                asked_room::admit(room, origin)?;
            }
            if !room.signer.is_local(sender) {
                return Err(ask_other_server());
            }
            member(db, room, Parts { sender, target, signed, append })
        })
        .unwrap_or_else(|| Err(ask_other_server()))
    })
}

fn signed_of(invite: &Body) -> Option<&Map> {
    let content = invite.object("content").ok()??;
    content.get("third_party_invite")?.get("signed")?.as_object()
}

struct Parts<'p> {
    sender: &'p str,
    target: &'p str,
    signed: &'p Map,
    append: bool,
}

fn member(db: &Db<'_>, room: &mut Room<'_>, parts: Parts<'_>) -> Result<Response> {
    let Parts { sender, target, signed, append } = parts;
    let token = signed.get("token").and_then(Value::as_str).unwrap_or_default();
    let known = |token: &str| {
        let invite = room.state("m.room.third_party_invite", token)?.event;
        (invite.sender() == sender).then_some(invite)
    };
    let invite = Some(token).filter(|token| !token.contains('\0')).and_then(known).ok_or_else(|| {
        MatrixError::forbidden("There is no third-party invite of this user with this token in the room.")
    })?;
    // The authorization rules would let the invite replace a join.
    if matches!(room.membership(target), Some((membership, _)) if matches!(&*membership, "join" | "invite")) {
        let error = "The user is already in the room, or already invited.";
        return Err(MatrixError::new(409, "M_FORBIDDEN", error));
    }
    let display_name = invite.content().get("display_name").cloned().unwrap_or_else(|| "".into());
    let content = json!({
        "membership": "invite",
        "third_party_invite": { "display_name": display_name, "signed": signed },
    });
    let content = content.as_object().cloned().unwrap_or_default();
    let user = User { nid: users::intern(db, &[sender])[sender], id: sender.to_owned() };
    if append {
        set_member(room, &user, target, content)?;
        return Ok(room.answer(json!({})));
    }
    let prepared = prepared(room, LocalEvent::state(&user, "m.room.member", target, content))?;
    let key = |key: &InviteKey<'_>| IdentityKey {
        public_key: key.public_key.to_owned(),
        key_validity_url: key.key_validity_url.map(str::to_owned),
    };
    let keys = signing_keys(&invite, signed).iter().map(key).collect();
    Ok(Response::wire(&ProvedInvite { prepared, keys }))
}
