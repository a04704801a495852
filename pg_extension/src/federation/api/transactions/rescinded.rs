//! Invites that are rescinded, and knocks that are rejected: the only events that other servers may send of
//! rooms that this server is not in. Server-Server API, "Leaving Rooms (Rejecting Invites)".
//!
//! The authorization rules cannot be applied, because the room's state is not here. That the event cites the
//! invite would only prove that its server is in the room, and then any user there could hide invites. So an
//! event is accepted from the servers that the stripped state of the invite names, and from moderators whom
//! it names. Other invites stay until the user tries to join.

use matriarch_rules::{Event, Map, RoomVersion, identifiers::server_name, json::ExactObject, room_version};
use serde_json::Value;

use crate::{
    base::{
        request,
        spi::{Db, Row},
        users,
    },
    federation::remote_users::is_sound,
    intake,
    room::out_of_band_memberships::client_event,
};

/// The result of such an event.
#[derive(Debug)]
pub struct Rescinded {
    pub event_id: String,
    /// The user to wake, or why the event is refused.
    pub outcome: Result<i64, String>,
}

const FIND: &str = "
    select o.user_nid, o.room_version, o.membership, s.user_id as sender, o.state
    from users u
    join out_of_band_memberships o on o.user_nid = u.user_nid
    join users s on s.user_nid = o.sender_nid
    where u.user_id = $1 and o.room_id = $2 and o.membership <> 'leave'
    for update of o";

const LEAVE: &str = "
    update out_of_band_memberships
    set membership = 'leave', sender_nid = $3, event = $4, state = '{}', xid = pg_current_xact_id()
    where user_nid = $1 and room_id = $2";

/// Accepts or refuses an event of a room that this server is not in. `None` if the event does not end an
/// out-of-band membership of a local user.
pub fn take(db: &Db<'_>, origin: &str, room_id: &str, pdu: &ExactObject) -> Option<Rescinded> {
    let fields = &pdu.object;
    let text = |key: &str| fields.get(key).and_then(Value::as_str);
    let membership = fields.get("content")?.get("membership")?.as_str()?;
    let target = text("state_key")?;
    if text("type") != Some("m.room.member")
        || !matches!(membership, "leave" | "ban")
        || text("sender") == Some(target)
        || !is_sound(target)
        || !is_sound(room_id)
    {
        return None;
    }
    let row = db.query_opt(FIND, &[target.into(), room_id.into()])?;
    let version = room_version(&row.get::<String>("room_version"))?;
    let event = intake::parse(version, room_id, &pdu.to_canonical()).ok()?;
    let event_id = event.event_id().to_owned();
    let sender = event.sender().to_owned();
    let outcome = match verified(db, version, event, origin, &row) {
        Ok(shown) => {
            let user_nid: i64 = row.get("user_nid");
            let sender_nid = users::intern(db, &[&sender])[&sender];
            let shown = client_event(&event_id, &shown);
            db.execute(LEAVE, &[user_nid.into(), room_id.into(), sender_nid.into(), shown.into()]);
            Ok(user_nid)
        }
        Err(reason) => Err(reason),
    };
    Some(Rescinded { event_id, outcome })
}

/// The event as a sync shows it, if it may end the membership in `row`.
fn verified(
    db: &Db<'_>,
    version: &RoomVersion,
    event: Event,
    origin: &str,
    row: &Row<'_>,
) -> Result<Map, String> {
    if server_name(event.sender()) != Some(origin) {
        return Err("The sender of the event is not on your server.".to_owned());
    }
    if !speaks_for_room(row, origin, event.sender()) {
        let reason = "Neither the invite nor the room's stripped state shows that the sender may do this.";
        return Err(reason.to_owned());
    }
    let keys = intake::Keys::load(db, version, [&event].into_iter(), Default::default());
    match keys.verify(version, event) {
        Ok(pdu) if pdu.verified.content_hash => Ok(pdu.event.json().clone()),
        Ok(_) => Err("The content hash of the event is wrong.".to_owned()),
        Err(intake::Unfit::Refused(reason)) => Err(reason),
        Err(intake::Unfit::Needs(_)) => Err("The key that signed the event is not known.".to_owned()),
    }
}

/// Whether the origin is known to be in the room, because it sent the invite or an event of the stripped
/// state; or whether the stripped state gives the sender the right to kick.
fn speaks_for_room(row: &Row<'_>, origin: &str, sender_of_event: &str) -> bool {
    let (membership, sender, state): (String, String, Vec<String>) =
        (row.get("membership"), row.get("sender"), row.get("state"));
    let invited = membership == "invite" && server_name(&sender) == Some(origin);
    let tells = |event: &String| {
        let event = request::object(event).unwrap_or_default();
        let text = |key: &str| event.get(key).and_then(Value::as_str);
        let content = event.get("content").cloned().unwrap_or_default();
        let names = match text("type") {
            Some("m.room.create") => is_creator(&content, sender_of_event),
            Some("m.room.power_levels") => may_kick(&content, sender_of_event),
            _ => false,
        };
        names || text("sender").is_some_and(|sender| server_name(sender) == Some(origin))
    };
    invited || state.iter().any(tells)
}

fn is_creator(create: &Value, user_id: &str) -> bool {
    let creators = create.get("additional_creators").and_then(Value::as_array);
    creators.is_some_and(|creators| creators.iter().any(|creator| creator == user_id))
}

/// The power level for kicking is enough, also for a ban: here they have the same effect.
fn may_kick(power_levels: &Value, user_id: &str) -> bool {
    let needed = power_levels.get("kick").and_then(Value::as_i64).unwrap_or(50);
    let level = power_levels.get("users").and_then(|users| users.get(user_id)?.as_i64());
    level.is_some_and(|level| level >= needed)
}
