//! Changes of membership: the endpoints, and the function that `PUT state` of `m.room.member` uses too.

mod restricted;

pub use self::restricted::{Unauthorized, allowed_rooms, authorizer_for};
use crate::{
    append::{self, Appended, LocalEvent},
    base::{
        request::Body,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
        users::User,
    },
    client::typing,
    room::{Room, out_of_band_memberships, pending_invites},
};

use matriarch_rules::{
    Map,
    identifiers::{is_room_alias, is_user_id},
};
use pgrx::pg_extern;
use serde_json::{Value, json};

const ROOM_OF_ALIAS: &str = "
    select r.room_id from room_aliases a join rooms r using (room_nid) where a.room_alias = $1";

const PROFILE: &str = "
    select p.key, p.value
    from users u
    join profiles p using (user_nid)
    where u.user_id = $1 and p.key in ('displayname', 'avatar_url')";

const LOCK_PROFILE: &str = "select from users where user_nid = $1 for share";

const FORGET: &str = "
    update memberships set forgotten = true, xid = pg_current_xact_id()
    where room_nid = $1 and user_nid = $2 and not forgotten";

/// `POST /join/{roomIdOrAlias}`, `POST /rooms/{roomId}/join`
#[pg_extern]
fn join(token_hash: &[u8], room: &str, request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        let request = Body::parse(request)?;
        let mut content = content_of("join", &request)?;
        in_room(db, room, |room| {
            if room.is_joined(&user.id) {
                return Ok(single("room_id", room.id.as_str()));
            }
            // In a partial room this server may not know whether the user may join; a resident server does.
            if room.is_elsewhere() || room.check_member_known(&user.id).is_err() {
                return Err(elsewhere());
            }
            let answer = json!({ "room_id": room.id });
            set_member(room, &user, &user.id, std::mem::take(&mut content))
                .map_err(|error| error.or_answer(answer.clone()))?;
            Ok(room.answer(answer))
        })
    })
}

/// `POST /rooms/{roomId}/{action}` for `invite`, `leave`, `kick`, `ban` and `unban`; `POST
/// /knock/{roomIdOrAlias}` for `knock`
#[pg_extern]
fn set_membership(token_hash: &[u8], room: &str, action: &str, request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        let request = Body::parse(request)?;
        let membership = match action {
            "invite" | "leave" | "ban" | "knock" => action,
            "kick" | "unban" => "leave",
            _ => return Err(MatrixError::new(404, "M_UNRECOGNIZED", "There is no such action.")),
        };
        if action == "invite" && request.string("user_id")?.is_none() && request.string("address")?.is_some()
        {
            return Err(refuse_third_party_invite());
        }
        let target = match action {
            "leave" | "knock" => user.id.as_str(),
            _ => request.required_string("user_id")?,
        };
        let content = content_of(membership, &request)?;
        // Clients repeat requests whose answers were lost: a user who has left need not leave again.
        let out_of_band =
            if action == "leave" { out_of_band_memberships::find(db, user.nid, room) } else { None };
        if out_of_band.as_deref() == Some("leave") {
            return Ok(Response::empty());
        }
        in_room(db, room, |room| {
            if matches!(action, "knock" | "leave") && !room.is_joined(&user.id) && room.is_elsewhere() {
                let has_left = room.membership(&user.id).is_some_and(|(membership, _)| membership == "leave");
                if action == "leave" && has_left && out_of_band.is_none() {
                    return Ok(Response::empty());
                }
                return Err(elsewhere());
            }
            // Users who are not in the room must not learn who is; the authorization rules refuse them.
            let may_know = target == user.id || room.is_joined(&user.id);
            if may_know {
                room.check_member_known(target)?;
            }
            let current = room.membership(target).map(|(membership, _)| membership);
            match (action, current.as_deref()) {
                _ if !may_know => {}
                ("leave", Some("leave")) => return Ok(Response::empty()),
                ("leave", None) => return Err(MatrixError::forbidden("You are not in this room.")),
                ("kick", None | Some("leave" | "ban")) => {
                    return Err(MatrixError::forbidden("The user is not in this room."));
                }
                ("unban", None | Some("join" | "invite" | "knock" | "leave")) => {
                    return Err(MatrixError::forbidden("The user is not banned from this room."));
                }
                _ => {}
            }
            let body = if action == "knock" { json!({ "room_id": room.id }) } else { json!({}) };
            set_member(room, &user, target, content).map_err(|error| error.or_answer(body.clone()))?;
            Ok(room.answer(body))
        })
    })
}

/// `POST /rooms/{roomId}/forget`
#[pg_extern]
fn forget(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        match out_of_band_memberships::forget(db, user.nid, room_id) {
            Some(true) => return Ok(Response::empty()),
            Some(false) => return Err(MatrixError::new(400, "M_UNKNOWN", "You have not left this room.")),
            None => {}
        }
        in_room(db, room_id, |room| match room.membership(&user.id) {
            Some((membership, _)) if membership == "leave" || membership == "ban" => {
                room.db.execute(FORGET, &[room.nid.into(), user.nid.into()]);
                Ok(Response::empty())
            }
            Some(_) => {
                let error = format!("User {} is in room {}", user.id, room.id);
                Err(MatrixError::new(400, "M_UNKNOWN", error))
            }
            None => Err(MatrixError::not_found("You were never in this room.")),
        })
    })
}

/// The refusal of a third-party invite, when no API node has asked an identity server.
pub fn refuse_third_party_invite() -> MatrixError {
    let error = "This server asks no identity server, so it cannot invite by third-party id.";
    MatrixError::new(403, "M_SERVER_NOT_TRUSTED", error)
}

/// MSC4293: whether the messages of a user who is banned or kicked are to be redacted as well.
const REDACT_EVENTS: &str = "org.matrix.msc4293.redact_events";

/// The content of the member event for a request.
pub fn content_of(membership: &str, request: &Body) -> Result<Map> {
    let mut content = Map::new();
    content.insert("membership".to_owned(), membership.into());
    if let Some(reason) = request.string("reason")? {
        content.insert("reason".to_owned(), reason.into());
    }
    if matches!(membership, "leave" | "ban")
        && let Some(redacts) = request.bool(REDACT_EVENTS)?
    {
        content.insert(REDACT_EVENTS.to_owned(), redacts.into());
    }
    Ok(content)
}

/// The refusal for a room that this server has not joined: the API node tries a resident server.
fn elsewhere() -> MatrixError {
    MatrixError::not_found("This server is not in the room.").or_elsewhere()
}

/// Works on a room that is named by its id or an alias. 404 `M_NOT_FOUND` if this server does not know it,
/// 400 `M_INVALID_PARAM` if it is neither.
fn in_room<'d>(
    db: &'d Db<'d>,
    id_or_alias: &str,
    work: impl FnOnce(&mut Room<'d>) -> Result<Response>,
) -> Result<Response> {
    let room_id = if id_or_alias.starts_with('!') {
        id_or_alias.to_owned()
    } else if is_room_alias(id_or_alias) {
        match db.query_opt(ROOM_OF_ALIAS, &[id_or_alias.into()]) {
            Some(row) => row.get("room_id"),
            None if Signer::current(db).is_local(id_or_alias) => {
                return Err(MatrixError::not_found("There is no such room alias."));
            }
            None => return Err(MatrixError::not_found("The room alias is of another server.")),
        }
    } else {
        return Err(MatrixError::invalid_param(format!(
            "{id_or_alias:?} is neither a room id nor a room alias."
        )));
    };
    Room::with(db, &room_id, work).unwrap_or_else(|| Err(elsewhere()))
}

/// Sets the membership in `content` for `target`, with an event of `sender`.
///
/// Adds the profile of a local user where `content` has none, and the user who authorizes a join to a
/// restricted room. Local users who do not exist can be invited too, so that the response does not tell which
/// users exist.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` if `target` is not a user id, those of [`pending_invites::admit`], else as
/// [`append`](crate::append::append).
pub fn set_member(room: &mut Room<'_>, sender: &User, target: &str, mut content: Map) -> Result<Appended> {
    if !is_user_id(target) {
        return Err(MatrixError::invalid_param(format!("{target:?} is not a user id.")));
    }
    room.load([
        ("m.room.create", ""),
        ("m.room.power_levels", ""),
        ("m.room.join_rules", ""),
        ("m.room.member", target),
        ("m.room.member", &sender.id),
    ]);
    room.check_member_known(target)?;
    let membership = content.get("membership").and_then(Value::as_str).unwrap_or_default();
    let shows_profile = matches!(membership, "join" | "invite" | "knock");
    let leaves = matches!(membership, "leave" | "ban");
    if membership == "invite" && room.signer.is_local(target) && room.is_joined(&sender.id) {
        let is_pending = room.membership(target).is_some_and(|(membership, _)| membership == "invite");
        if !is_pending {
            pending_invites::admit(room.db, &sender.id, target, false)?;
        }
    }
    if membership == "join" && sender.id == target {
        restricted::authorize_join(room, sender, &mut content)?;
        // A concurrent change of the profile waits for this join, and is then shown in this room too.
        room.db.execute(LOCK_PROFILE, &[sender.nid.into()]);
    }
    if shows_profile && room.signer.is_local(target) {
        add_profile(room.db, target, &mut content);
    }
    let appended = append::append(room, LocalEvent::state(sender, "m.room.member", target, content))?;
    if leaves {
        typing::stop_for(room.db, room.nid, target);
    }
    Ok(appended)
}

/// Adds the display name and avatar of the user's profile, unless the content has them.
pub fn add_profile(db: &Db<'_>, user_id: &str, content: &mut Map) {
    for row in db.query(PROFILE, &[user_id.into()]) {
        let (key, value): (String, String) = (row.get("key"), row.get("value"));
        if let Ok(value @ Value::String(_)) = serde_json::from_str(&value) {
            content.entry(key).or_insert(value);
        }
    }
}
