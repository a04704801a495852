//! Remote memberships: local users join, knock at and leave rooms that only other servers are in.
//! Server-Server API, "Joining Rooms", "Knocking upon a room" and "Leaving Rooms (Rejecting Invites)".
//!
//! A resident server gives a template of the membership event. Only the event's position in the graph, and
//! the user who authorizes it, are taken from the template. This server makes and signs the rest.

use matriarch_rules::{
    Map, RoomVersion, event::check_pdu_format, hash, identifiers::is_user_id, room_version,
    signature::hash_and_sign_event,
};
use matriarch_wire::SignedMembership;
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    base::{
        ids::{now_ms, random_event_id},
        request::{self, Body},
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
    },
    client::room_membership::{add_profile, content_of},
    room::out_of_band_memberships::{self, MAX_STATE, UnjoinedRoom, client_event, stripped},
};

const AUTHORIZER: &str = "join_authorised_via_users_server";

/// The error 502 `M_BAD_JSON`: another server sent a malformed template.
fn bad_template(reason: &str) -> MatrixError {
    MatrixError::new(502, "M_BAD_JSON", format!("The other server's template of the event is bad: {reason}."))
}

/// Completes and signs a membership event of the user from a resident server's template.
///
/// Returns [`SignedMembership`]. 502 `M_BAD_JSON` if the template is of another event.
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
        Ok(Response::wire(&SignedMembership { event_id, event: event.into() }))
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
    let authorizer = proposed.and_then(|content| content.get(AUTHORIZER)?.as_str());
    if let Some(authorizer) = authorizer.filter(|user_id| is_user_id(user_id)) {
        content.insert(AUTHORIZER.to_owned(), authorizer.into());
    }
    let mut event = Map::new();
    for key in ["prev_events", "auth_events", "depth"] {
        let value = template.get(key).ok_or_else(|| bad_template("it lacks events to cite, or a depth"))?;
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

const INVITER: &str = "
    select u.server_name
    from memberships m
    join rooms r using (room_nid)
    join users u on u.user_nid = m.sender_nid
    where r.room_id = $1 and m.user_nid = $2 and m.membership = 'invite'
    union
    select u.server_name
    from out_of_band_memberships o
    join users u on u.user_nid = o.sender_nid
    where o.room_id = $1 and o.user_nid = $2";

/// The server that helped to join a partial room is likely to help again.
const HELPER: &str = "
    select p.server_name from rooms r join partial_joins p using (room_nid) where r.room_id = $1";

const MEMBERS: &str = "
    select u.server_name
    from rooms r
    join memberships m using (room_nid)
    join users u on u.user_nid = m.user_nid
    where r.room_id = $1 and m.membership = 'join'
    limit 200";

/// Servers that are in the room, as far as this server knows: that of the user who invited, the one that
/// helped to join the room while it is partial, then those of some members. May have duplicates.
#[pg_extern(stable)]
fn servers_in_room(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let inviter = db.query(INVITER, &[room_id.into(), session.user_nid.into()]);
        let mut servers: Vec<String> = inviter.map(|row| row.get("server_name")).collect();
        for of_room in [HELPER, MEMBERS] {
            servers.extend(db.query(of_room, &[room_id.into()]).map(|row| row.get::<String>("server_name")));
        }
        Ok(Response::json(&servers.into()))
    })
}

/// Records that the user left a room that this server has not joined: rejected an invite, or rescinded a
/// knock. `event` is the event that another server accepted; NULL if none did: clients then get one that no
/// server has.
///
/// 404 `M_NOT_FOUND` if the user has no out-of-band membership of the room.
#[pg_extern]
fn leave_out_of_band(
    token_hash: &[u8],
    room_id: &str,
    event_id: Option<&str>,
    event: Option<&str>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let event = match (event_id, event) {
            (Some(event_id), Some(event)) => client_event(event_id, &request::object(event)?),
            _ => local_leave(&session, &Signer::current(db)),
        };
        if !out_of_band_memberships::leave(db, session.user_nid, room_id, event) {
            return Err(MatrixError::not_found("You are neither invited to this room nor knocking."));
        }
        Ok(Response::empty().wake_user(session.user_nid))
    })
}

/// A leave event for the user's clients only.
fn local_leave(session: &Session, signer: &Signer) -> String {
    let event = json!({
        "content": { "membership": "leave" },
        "origin_server_ts": now_ms(),
        "sender": session.user_id,
        "state_key": session.user_id,
        "type": "m.room.member",
    });
    client_event(&random_event_id(&signer.server_name), event.as_object().unwrap_or(&Map::new()))
}

/// Records that the user knocks at a room that this server has not joined. `event` is the event that another
/// server accepted, `state` the stripped state that it returned.
#[pg_extern]
fn knock_out_of_band(
    token_hash: &[u8],
    room_id: &str,
    room_version: &str,
    event: &str,
    state: Vec<String>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let event = request::object(event)?;
        let state = state
            .iter()
            .filter_map(|event| stripped(&request::object(event).ok()?))
            .take(MAX_STATE)
            .collect();
        out_of_band_memberships::record(
            db,
            UnjoinedRoom { room_id, room_version, state },
            session.user_nid,
            &session.user(),
            &event,
        );
        Ok(Response::empty().wake_user(session.user_nid))
    })
}
