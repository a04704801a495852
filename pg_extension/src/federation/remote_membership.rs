//! This server's users on their way into rooms of other servers, and out of them. Server-Server API, "Joining Rooms",
//! "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".
//!
//! A server in the room gives a template of the membership event. What it decides is where in the graph the event goes, and who
//! authorises it; the rest is this server's to say, and to sign.

use matriarch_rules::{
    Map, RoomVersion, event::check_pdu_format, hash, identifiers::is_user_id, room_version,
    signature::hash_and_sign_event,
};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent},
    base::{
        ids::{now_ms, random_event_id},
        request::{self, Body},
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
    },
    client::{
        room_membership::{add_profile, content_of},
        sync::SHOWN_TO_OUTSIDERS,
    },
    room::Room,
};

const AUTHORISER: &str = "join_authorised_via_users_server";

/// 502 `M_BAD_JSON`: another server's mistake.
fn bad_template(reason: &str) -> MatrixError {
    MatrixError::new(502, "M_BAD_JSON", format!("The other server's template of the event is bad: {reason}."))
}

/// Completes and signs the event by which the user joins, knocks or leaves, from a server's template.
///
/// The answer is `{"event_id", "event"}`. 502 `M_BAD_JSON` for a template of another event.
#[pg_extern(stable)]
fn sign_membership(
    token_hash: &[u8],
    room_id: &str,
    version: &str,
    membership: &str,
    template: &str,
    body: &str,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let version = room_version(version).ok_or_else(|| {
            MatrixError::new(400, "M_UNSUPPORTED_ROOM_VERSION", "The room version is not supported.")
        })?;
        let template = request::object(template).map_err(|_| bad_template("it is not an object"))?;
        let mut content = content_of(membership, &Body::parse(body)?)?;
        if membership != "leave" {
            add_profile(db, &session.user_id, &mut content);
        }
        let mut event = complete(db, version, &session.user_id, room_id, content, &template)?;
        let signer = Signer::current(db);
        let format = |error: &dyn std::fmt::Display| bad_template(&error.to_string());
        hash_and_sign_event(version, &mut event, &signer.server_name, &signer.key)
            .map_err(|error| format(&error))?;
        check_pdu_format(version, &event).map_err(|error| format(&error))?;
        let event_id = hash::event_id(version, &event).ok_or_else(|| bad_template("it has no event id"))?;
        Ok(Response::json(&json!({ "event_id": event_id, "event": event })))
    })
}

fn complete(
    db: &Db<'_>,
    version: &RoomVersion,
    user_id: &str,
    room_id: &str,
    mut content: Map,
    template: &Map,
) -> Result<Map> {
    let text = |key: &str| template.get(key).and_then(Value::as_str);
    let wanted = content.get("membership").and_then(Value::as_str);
    let proposed = template.get("content").and_then(Value::as_object);
    if text("type") != Some("m.room.member")
        || text("sender") != Some(user_id)
        || text("state_key") != Some(user_id)
        || text("room_id") != Some(room_id)
        || proposed.and_then(|content| content.get("membership")?.as_str()) != wanted
    {
        return Err(bad_template("it is of another event"));
    }
    let authoriser = proposed.and_then(|content| content.get(AUTHORISER)?.as_str());
    if let Some(authoriser) = authoriser.filter(|user_id| is_user_id(user_id)) {
        content.insert(AUTHORISER.to_owned(), authoriser.into());
    }
    let mut event = Map::new();
    for key in ["prev_events", "auth_events", "depth"] {
        let value = template.get(key).ok_or_else(|| bad_template("it has no place in the graph"))?;
        event.insert(key.to_owned(), value.clone());
    }
    let fields: [(&str, Value); 6] = [
        ("type", "m.room.member".into()),
        ("sender", user_id.into()),
        ("state_key", user_id.into()),
        ("room_id", room_id.into()),
        ("origin_server_ts", now_ms().into()),
        ("content", content.into()),
    ];
    event.extend(fields.map(|(key, value)| (key.to_owned(), value)));
    if version.event_id_in_event() {
        event.insert("event_id".to_owned(), random_event_id(&Signer::current(db).server_name).into());
    }
    Ok(event)
}

/// Makes and signs the event that invites a user of another server, without appending it: that server signs it first.
/// `content` is that of the event, in which the membership may be left out.
///
/// The answer is `{"event_id", "event", "room_version", "invite_room_state"}`. Errors as those of an invite.
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
            Ok(Response::json(&prepared.into()))
        })
        .unwrap_or_else(|| Err(MatrixError::not_found("This server is not in the room.")))
    })
}

/// An invite that is not appended yet, with what goes with it to the user's server.
pub fn prepared(room: &mut Room<'_>, invite: LocalEvent<'_>) -> Result<Map> {
    let built = append::prepare(room, invite)?;
    room.load(SHOWN_TO_OUTSIDERS.map(|event_type| (event_type, "")));
    let state: Vec<Value> = SHOWN_TO_OUTSIDERS
        .iter()
        .filter_map(|event_type| room.state(event_type, ""))
        .map(|state| Value::Object(state.event.json().clone()))
        .collect();
    let policy_server = room.policy_server().map(|policy| policy.via);
    let fields: [(&str, Value); 5] = [
        ("policy_server", policy_server.into()),
        ("event_id", built.event.event_id().into()),
        ("event", built.event.json().clone().into()),
        ("room_version", room.version.id.into()),
        ("invite_room_state", state.into()),
    ];
    Ok(fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect())
}

const INVITER: &str = "
    select u.user_id
    from memberships m
    join rooms r using (room_nid)
    join users u on u.user_nid = m.sender_nid
    where r.room_id = $1 and m.user_nid = $2 and m.membership = 'invite'
    union
    select u.user_id
    from out_of_band_memberships o
    join users u on u.user_nid = o.sender_nid
    where o.room_id = $1 and o.user_nid = $2";

const MEMBERS: &str = "
    select u.user_id
    from rooms r
    join memberships m using (room_nid)
    join users u on u.user_nid = m.user_nid
    where r.room_id = $1 and m.membership = 'join'
    limit 200";

/// Users whose servers are in the room, as far as this one knows: who invited the user, then some members.
#[pg_extern(stable)]
fn users_in_room(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let inviter = db.query(INVITER, &[room_id.into(), session.user_nid.into()]);
        let mut users: Vec<String> = inviter.map(|row| row.get(1)).collect();
        users.extend(db.query(MEMBERS, &[room_id.into()]).map(|row| row.get::<String>(1)));
        Ok(Response::json(&users.into()))
    })
}
