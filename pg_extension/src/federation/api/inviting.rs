//! Serves invites of local users by remote users. Server-Server API, "Inviting to a room".

use std::fmt::Display;

use matriarch_rules::{
    Event, RoomVersion,
    identifiers::{is_user_id, server_name},
    json::parse_pdu,
    room_version,
    signature::sign_exactly,
};
use matriarch_wire::{Outcome, SignedInvite};
use pgrx::pg_extern;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::asked_room;
use crate::{
    base::{
        request,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        signing::Signer,
        spi::{Db, Mode},
        users::{self, User},
    },
    intake::{self, Malformed, Unfit},
    room::{
        Room,
        out_of_band_memberships::{self, MAX_STATE, UnjoinedRoom, stripped},
        pending_invites,
    },
};

const ACCOUNT: &str = "
    select u.user_nid
    from users u
    join accounts a using (user_nid)
    where u.user_id = $1 and a.deactivated_at is null";

const IS_INVITED: &str = "
    select
    from users u
    join out_of_band_memberships o using (user_nid)
    where u.user_id = $2 and o.room_id = $1 and o.membership = 'invite'";

/// The body of the request, whose events are read one by one.
#[derive(Deserialize)]
struct Request<'r> {
    room_version: String,
    #[serde(borrow)]
    event: &'r RawValue,
    #[serde(borrow, default)]
    invite_room_state: Option<Vec<&'r RawValue>>,
}

/// `PUT /_matrix/federation/v2/invite/{roomId}/{eventId}`. The API node turns a body of version 1 into one of
/// version 2.
///
/// `is_strict`: whether an invite to a room whose id is made of the create event must come with signed events
/// of the room.
///
/// Returns [`SignedInvite`], also for users who do not exist: so the response does not tell whether they do.
///
/// # Errors
///
/// 400 `M_INCOMPATIBLE_ROOM_VERSION` with `room_version`, `M_BAD_JSON` for an event with JSON that the room
/// version does not allow, `M_INVALID_PARAM` for an event that is no invite of
/// a local user, for missing or invalid signatures ([`Outcome::NeedsKeys`] if the signing key is not stored),
/// and for state that is not the room's; 403 `M_FORBIDDEN` if the room's access control list denies the
/// origin, and the errors of [`pending_invites::admit`].
#[pg_extern]
fn federation_invite(
    origin: &str,
    room_id: &str,
    event_id: &str,
    request: &str,
    is_strict: bool,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let request: Request<'_> = request::typed(request)?;
        let named = request.room_version.as_str();
        let version = room_version(named).ok_or_else(|| {
            let error = "This server does not support the room's version.";
            MatrixError::new(400, "M_INCOMPATIBLE_ROOM_VERSION", error).with("room_version", named)
        })?;
        let event = intake::parse(version, room_id, request.event.get()).map_err(not_taken)?;
        let signer = Signer::current(db);
        check(&event, &signer, origin, event_id)?;
        let mut room = Room::read(db, room_id);
        if let Some(room) = &mut room {
            asked_room::admit(room, origin)?;
            if room.version != version {
                return Err(malformed("the room has another version"));
            }
        }
        let InviteState { state, is_unproven } =
            invite_room_state(db, version, room_id, &request, is_strict)?;
        let event = verified(db, version, event)?;

        let is_inhabited = room.is_some_and(|room| asked_room::check_joined(&room).is_ok());
        let target = event.state_key().unwrap_or_default();
        if !is_known(db, room_id, target) {
            pending_invites::admit(db, event.sender(), target, true)?;
        }
        let account: Option<i64> = db.query_opt(ACCOUNT, &[target.into()]).map(|row| row.get("user_nid"));
        let mut response = Response::wire(&SignedInvite {
            event: signed(&signer, version, request.event.get()),
            inhabited_room_version: (is_inhabited && account.is_some()).then(|| version.id.to_owned()),
            has_unproven_state: is_unproven,
        });
        if let Some(user_nid) = account.filter(|_| !is_inhabited) {
            let sender = event.sender();
            let sender = User { nid: users::intern(db, &[sender])[sender], id: sender.to_owned() };
            let unjoined = UnjoinedRoom { room_id, room_version: version.id, state };
            out_of_band_memberships::record(db, unjoined, user_nid, &sender, event.json());
            response = response.wake_user(user_nid);
        }
        Ok(response)
    })
}

/// Whether the user is invited to the room already.
fn is_known(db: &Db<'_>, room_id: &str, user_id: &str) -> bool {
    db.query_opt(IS_INVITED, &[room_id.into(), user_id.into()]).is_some()
}

fn malformed(reason: impl Display) -> MatrixError {
    MatrixError::invalid_param(format!("The invite cannot be accepted: {reason}."))
}

/// 400 `M_BAD_JSON` for JSON that the room version does not allow.
fn not_taken(error: Malformed) -> MatrixError {
    let refused = malformed(&error);
    if error.is_bad_json { MatrixError::bad_json(refused.error) } else { refused }
}

fn check(event: &Event, signer: &Signer, origin: &str, event_id: &str) -> Result<()> {
    let membership = event.content().get("membership").and_then(Value::as_str);
    if event.event_type() != "m.room.member" || membership != Some("invite") {
        Err(malformed("it is not an invite"))
    } else if server_name(event.sender()) != Some(origin) {
        Err(malformed("its sender is not of your server"))
    } else if !event.state_key().is_some_and(|user_id| is_user_id(user_id) && signer.is_local(user_id)) {
        Err(malformed("the user is not of this server"))
    } else if event.event_id() != event_id {
        Err(malformed("its id is another one"))
    } else {
        Ok(())
    }
}

/// The event, if its sender's server has signed it.
fn verified(db: &Db<'_>, version: &RoomVersion, event: Event) -> Result<Event> {
    let keys = intake::Keys::load(db, version, [&event].into_iter(), Default::default());
    match keys.verify(version, event) {
        Ok(pdu) if pdu.verified.content_hash => Ok(pdu.event),
        Ok(_) => Err(malformed("its content hash is wrong")),
        Err(Unfit::Refused(reason)) => Err(malformed(reason)),
        Err(Unfit::Needs(_)) => {
            Err(malformed("the key that signed it is not known").with_outcome(Outcome::NeedsKeys))
        }
    }
}

/// The event with this server's signature added.
fn signed(signer: &Signer, version: &RoomVersion, event: &str) -> String {
    let mut event = parse_pdu(event).unwrap_or_default();
    sign_exactly(version, &mut event, &signer.server_name, &signer.key);
    event.to_canonical()
}

/// The stripped state that invited users are shown.
struct InviteState {
    state: Vec<String>,
    /// Whether some of the state proves nothing, where it ought to be signed events of the room.
    is_unproven: bool,
}

/// Reads `invite_room_state`. If the room's id is made of the create event, the state ought to consist of
/// signed events of the room, with the create event among them (MSC4311). Events that prove to be false are
/// refused, and events that were signed with unknown keys are left out. Stripped state, as in earlier room
/// versions, is taken too unless `is_strict`: many servers send it still.
fn invite_room_state(
    db: &Db<'_>,
    version: &RoomVersion,
    room_id: &str,
    request: &Request<'_>,
    is_strict: bool,
) -> Result<InviteState> {
    let given = request.invite_room_state.as_deref().unwrap_or_default();
    if given.len() > MAX_STATE {
        return Err(malformed("it comes with too much state"));
    }
    if !version.room_id_is_create_event_id {
        let state = given.iter().filter_map(|event| stripped(&parse_pdu(event.get()).ok()?.object)).collect();
        return Ok(InviteState { state, is_unproven: false });
    }
    let claims_proof = |event: &&&RawValue| {
        is_strict
            || parse_pdu(event.get()).is_ok_and(|event| {
                event.object.contains_key("signatures") || event.object.contains_key("hashes")
            })
    };
    let (to_prove, bare): (Vec<&&RawValue>, Vec<&&RawValue>) = given.iter().partition(claims_proof);
    let mut events = Vec::with_capacity(to_prove.len());
    for event in to_prove {
        let event = intake::parse(version, room_id, event.get())
            .map_err(|error| malformed(format_args!("in the state that it comes with, {error}")))?;
        events.push(event);
    }
    let has_create = events.iter().any(|event| event.is("m.room.create", ""));
    if is_strict && !has_create {
        return Err(malformed("the room's create event does not come with it"));
    }
    let keys = intake::Keys::load(db, version, events.iter(), Default::default());
    let is_unproven = !has_create || !bare.is_empty();
    let mut state: Vec<String> =
        bare.into_iter().filter_map(|event| stripped(&parse_pdu(event.get()).ok()?.object)).collect();
    for event in events {
        // The room's id proves the create event, whoever signed it.
        let proven = event.is("m.room.create", "").then(|| stripped(event.json())).flatten();
        match keys.verify(version, event) {
            Ok(pdu) => state.extend(stripped(pdu.event.json())),
            Err(Unfit::Needs(_)) => state.extend(proven),
            Err(Unfit::Refused(reason)) => {
                return Err(malformed(format_args!("in the state that it comes with, {reason}")));
            }
        }
    }
    Ok(InviteState { state, is_unproven })
}
