//! Accepts membership events of remote users, which their servers made from this server's templates, as the
//! resident server. Server-Server API, "Joining Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting
//! Invites)".

use std::{collections::HashSet, fmt::Display};

use matriarch_rules::{
    Event, RoomVersion,
    identifiers::server_name,
    json_text::{Object, object_text},
    room_version,
    signature::sign_exactly,
};
use matriarch_wire::{NeedsEvents, Outcome, Verdict};
use pgrx::pg_extern;
use serde_json::Value;

use super::{
    asked_room, auth_chain,
    make_membership::{authorizer_of_join, known_user},
    partial_state::Partial,
    pdus,
};
use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond, to_object},
        spi::{Db, Mode},
    },
    client::sync::SHOWN_TO_OUTSIDERS,
    intake::{self, Malformed},
    room::{Room, version_of_room},
    trie,
};

const STORED: &str = "select event_nid, state_before from events where event_id = $1";

/// `PUT /_matrix/federation/v2/send_join/{roomId}/{eventId}`, `v1/send_knock`, `v2/send_leave`
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` for an event that is not of the endpoint's kind, or whose signatures are missing or
/// invalid, and with [`Outcome::NeedsEvents`] for an event that cannot be judged yet; 403 `M_FORBIDDEN` for
/// an event that the room does not allow; 404 `M_NOT_FOUND` if this server is not in the room.
#[pg_extern]
fn federation_send_membership(
    origin: &str,
    room_id: &str,
    event_id: &str,
    membership: &str,
    request: &str,
    omit_members: bool,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let version = version_of(db, room_id)?;
        let mut event = intake::parse(version, room_id, request).map_err(not_taken)?;
        check(&event, origin, event_id, membership)?;
        let take = |room: &mut Room<'_>| {
            asked_room::check_joined(room)?;
            room.check_whole()?;
            asked_room::admit(room, origin)?;
            if membership == "join" {
                event = authorize(room, event)?;
            }
            let pdu = event.exact().to_canonical();
            let (verdict, wake_room) = intake::receive_one(room, &pdu);
            match verdict {
                Verdict::Accepted => {}
                Verdict::Needs { .. } => return Err(needs_more(&event)),
                Verdict::Refused { reason } => return Err(malformed(reason)),
                Verdict::SoftFailed { reason } | Verdict::Rejected { reason } => {
                    return Err(MatrixError::forbidden(format!("The room does not allow it: {reason}.")));
                }
                Verdict::Outlier => unreachable!("an event that was live is no outlier"),
            }
            let body = match membership {
                "join" => joined(room, &event, &pdu, omit_members),
                "knock" => object_text(|body| shown_state(room, body)),
                _ => "{}".to_owned(),
            };
            let wake_rooms = wake_room.into_iter().collect();
            let wake_users = std::mem::take(&mut room.wake_users);
            Ok(Response { wake_rooms, wake_users, ..Response::new(body) })
        };
        Room::with(db, room_id, take).unwrap_or_else(|| Err(asked_room::unknown()))
    })
}

fn version_of(db: &Db<'_>, room_id: &str) -> Result<&'static RoomVersion> {
    room_version(&version_of_room(db, room_id).ok_or_else(asked_room::unknown)?)
        .ok_or_else(asked_room::unknown)
}

fn malformed(reason: impl Display) -> MatrixError {
    MatrixError::invalid_param(format!("The event cannot be accepted: {reason}."))
}

/// 400 `M_BAD_JSON` for JSON that the room version does not allow.
fn not_taken(error: Malformed) -> MatrixError {
    let refused = malformed(&error);
    if error.is_bad_json { MatrixError::bad_json(refused.error) } else { refused }
}

fn needs_more(event: &Event) -> MatrixError {
    let more = NeedsEvents { event: event.exact().to_canonical() };
    let error = malformed("what it depends on, or who signed it, cannot be found out");
    MatrixError { extra: to_object(&more), ..error.with_outcome(Outcome::NeedsEvents) }
}

/// The checks that the specification demands before the event is handled.
fn check(event: &Event, origin: &str, event_id: &str, membership: &str) -> Result<()> {
    let text = event.content().get("membership").and_then(Value::as_str);
    if event.event_type() != "m.room.member" || text != Some(membership) {
        Err(malformed(format_args!("it is not a {membership}")))
    } else if server_name(event.sender()) != Some(origin) {
        Err(malformed("its sender is not of your server"))
    } else if event.state_key() != Some(event.sender()) {
        Err(malformed("it is about somebody else"))
    } else if event.event_id() != event_id {
        Err(malformed("its id is another one"))
    } else {
        Ok(())
    }
}

/// Signs a join that a local user authorizes, if the joining user meets the room's conditions.
fn authorize(room: &mut Room<'_>, event: Event) -> Result<Event> {
    let named = event.content().get("join_authorised_via_users_server").and_then(Value::as_str);
    if !named.is_some_and(|user_id| room.signer.is_local(user_id)) {
        return Ok(event);
    }
    let user = known_user(room.db, event.sender());
    authorizer_of_join(room, &user)?;
    let event_id = event.event_id().to_owned();
    let mut json = event.into_exact();
    sign_exactly(room.version, &mut json, &room.signer.server_name, &room.signer.key);
    Ok(Event::new(event_id, json))
}

/// The response to a join: the state before it, and the auth chain of that state and of the join.
fn joined(room: &mut Room<'_>, event: &Event, pdu: &str, omit_members: bool) -> String {
    let db = room.db;
    let stored = db.query_one(STORED, &[event.event_id().into()]);
    let (nid, root): (i64, i64) = (stored.get("event_nid"), stored.get("state_before"));
    let partial = omit_members.then(|| Partial::of(room, event.sender(), root));
    let state: Vec<i64> = match &partial {
        Some(partial) => partial.state.clone(),
        None => trie::entries(db, root).into_iter().map(|(_, nid)| nid).collect(),
    };
    let given: Vec<i64> = state.iter().copied().chain([nid]).collect();
    let mut chain = auth_chain::of(room, &given);
    if omit_members {
        let state: HashSet<i64> = state.iter().copied().collect();
        chain.retain(|nid| !state.contains(nid));
    }
    object_text(|body| {
        body.value("origin", &room.signer.server_name).raw("event", pdu);
        body.value("members_omitted", omit_members);
        if let Some(partial) = &partial {
            body.value("servers_in_room", &partial.servers);
        }
        pdus::write(db, body, "auth_chain", &chain);
        pdus::write(db, body, "state", &state);
    })
}

/// The response to a knock: the stripped state, as signed events.
fn shown_state(room: &mut Room<'_>, body: &mut Object<'_>) {
    room.load(SHOWN_TO_OUTSIDERS.map(|event_type| (event_type, "")));
    let shown = SHOWN_TO_OUTSIDERS.iter().filter_map(|event_type| room.state(event_type, ""));
    let nids: Vec<i64> = shown.map(|state| state.nid).collect();
    pdus::write(room.db, body, "knock_room_state", &nids);
}
