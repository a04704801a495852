//! `POST /rooms/{roomId}/upgrade`: a room of another version takes a room's place. Client-Server API, "Room Upgrades".

mod levels;
mod personal;

use matriarch_rules::{Map, RoomVersion, power_levels};
use pgrx::pg_extern;
use serde_json::{Value, json};

pub use self::personal::carry_over;
use super::{
    NewRoom, invalid_state, object, random_room_id,
    request::{additional_creators, set_additional_creators, supported},
    set_state,
};
use crate::{
    append::LocalEvent,
    request::Body,
    response::{MatrixError, Response, ResponseRows, Result, respond},
    room::{Room, parse_stored},
    session::Session,
    signing::Signer,
    spi::{Db, Mode},
    users::User,
};

/// What is taken over, the power levels apart: they come last, as they may not let the new creator do all this.
const COPIED: [&str; 8] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.encryption",
    "m.room.server_acl",
];

const TOMBSTONE: &str = "m.room.tombstone";
const POWER_LEVELS: &str = "m.room.power_levels";
const CANONICAL_ALIAS: &str = "m.room.canonical_alias";

/// Whom and what else the new room keeps: bans, and the rooms of a space.
const KEYED: &str = "
    select k.type, k.state_key, e.json
    from room_keys k
    join events e on e.event_nid = k.current_event_nid
    left join users u on u.user_id = k.state_key
    left join memberships m on m.room_nid = k.room_nid and m.user_nid = u.user_nid
    where k.room_nid = $1 and (k.type = 'm.space.child' or k.type = 'm.room.member' and m.membership = 'ban')
    order by k.type, k.state_key";

const MOVE_ALIASES: &str = "update room_aliases set room_nid = $2 where room_nid = $1 returning room_alias";

const UNPUBLISH: &str = "update rooms set published = false where room_nid = $1 and published returning true";

/// The body.
struct Request {
    version: &'static RoomVersion,
    additional_creators: Vec<String>,
}

/// `POST /rooms/{roomId}/upgrade`
#[pg_extern]
fn upgrade_room(token_hash: &[u8], room_id: &str, request: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        let body = Body::parse(request)?;
        let version = supported(body.required_string("new_version")?)?;
        let additional_creators = match body.array("additional_creators")? {
            Some(creators) if version.privileged_creators => additional_creators(&creators.to_vec().into())?,
            _ => Vec::new(),
        };
        let request = Request { version, additional_creators };
        let done = Room::with(db, room_id, |old| {
            let may = old.power_levels(|levels| levels.may_send(&user.id, TOMBSTONE, true));
            if !old.is_joined(&user.id) || may != Some(true) {
                return Err(MatrixError::forbidden("You may not upgrade this room."));
            }
            // From here on something was written: a refusal must undo it.
            Ok(upgrade(db, old, &user, &request).unwrap_or_else(|refusal| refusal.abort()))
        });
        done.unwrap_or_else(|| Err(MatrixError::not_found("The room is not known.")))
    })
}

fn upgrade(db: &Db<'_>, old: &mut Room<'_>, user: &User, request: &Request) -> Result<Response> {
    let signer = Signer::current(db);
    let Some(create) = old.state("m.room.create", "") else {
        return Err(MatrixError::not_found("The room has no create event."));
    };
    let levels = levels::of_replacement(old, &create.event, user, request);
    let copied: Vec<(&str, Map)> = COPIED
        .iter()
        .filter_map(|event_type| Some((*event_type, old.state(event_type, "")?.event.content().clone())))
        .collect();
    let keyed: Vec<(String, String, Map)> = db
        .query(KEYED, &[old.nid.into()])
        .map(|row| {
            let content = parse_stored(&row.get::<String>(3)).remove("content").unwrap_or_default();
            (row.get(1), row.get(2), object(content))
        })
        .collect();

    let room_id = random_room_id(request.version, &signer);
    let mut predecessor = object(json!({ "room_id": old.id }));
    if let Some(replacement) = &room_id {
        predecessor.insert("event_id".to_owned(), bury(old, user, replacement)?.into());
    }
    let mut create_content =
        object(json!({ "room_version": request.version.id, "predecessor": predecessor }));
    if !request.version.creator_is_sender {
        create_content.insert("creator".to_owned(), user.id.as_str().into());
    }
    for key in ["type", "m.federate"] {
        if let Some(value) = create.event.content().get(key) {
            create_content.insert(key.to_owned(), value.clone());
        }
    }
    set_additional_creators(&mut create_content, user, request.additional_creators.clone());

    let published = db.query_opt(UNPUBLISH, &[old.nid.into()]).is_some();
    let canonical_alias = old.state(CANONICAL_ALIAS, "").map(|alias| alias.event.content().clone());
    let names_itself = room_id.is_none();
    let new = NewRoom { version: request.version, room_id, create_content, published };
    let mut response = new
        .begin(db, &signer, user, |room| {
            let set = |room: &mut Room<'_>, event_type: &str, state_key: &str, content: Map| {
                set_state(room, user, event_type, state_key, content).map_err(invalid_state)
            };
            set(room, "m.room.member", &user.id, object(json!({ "membership": "join" })))?;
            for (event_type, content) in &copied {
                set(room, event_type, "", content.clone())?;
            }
            for (event_type, state_key, content) in &keyed {
                set(room, event_type, state_key, content.clone())?;
            }
            let moved: Vec<String> =
                db.query(MOVE_ALIASES, &[old.nid.into(), room.nid.into()]).map(|row| row.get(1)).collect();
            if let Some(content) = canonical_alias.as_ref().and_then(|content| only_moved(content, &moved)) {
                set(room, CANONICAL_ALIAS, "", content)?;
            }
            if let Some(levels) = &levels {
                set(room, POWER_LEVELS, "", levels.clone())?;
            }
            Ok((room.id.clone(), room.answer(json!({ "replacement_room": room.id }))))
        })
        .map(|(room_id, mut response)| {
            if names_itself {
                bury(old, user, &room_id)?;
            }
            if canonical_alias.is_some_and(|content| !content.is_empty()) {
                try_to_set(old, user, CANONICAL_ALIAS, Map::new());
            }
            if let Some(levels) = levels::of_grave(old) {
                try_to_set(old, user, POWER_LEVELS, levels);
            }
            response.wake_users.append(&mut old.wake_users);
            Ok(response)
        })??;
    response.wake_rooms.push(old.nid);
    Ok(response)
}

/// Says in the old room where everybody goes; the event's id.
fn bury(old: &mut Room<'_>, user: &User, replacement: &str) -> Result<String> {
    let content = object(json!({ "body": "This room has been replaced", "replacement_room": replacement }));
    Ok(old.append(LocalEvent::state(user, TOMBSTONE, "", content))?.event_id)
}

/// Tidies up the old room, as far as the user may.
fn try_to_set(old: &mut Room<'_>, user: &User, event_type: &str, content: Map) {
    // A refused event leaves the room as it was.
    drop(old.append(LocalEvent::state(user, event_type, "", content)));
}

/// The part of a canonical alias event that is true of the new room.
fn only_moved(content: &Map, moved: &[String]) -> Option<Map> {
    let is_moved =
        |alias: &Value| alias.as_str().is_some_and(|alias| moved.iter().any(|moved| moved == alias));
    let mut kept = Map::new();
    if let Some(alias) = content.get("alias").filter(|alias| is_moved(alias)) {
        kept.insert("alias".to_owned(), alias.clone());
    }
    if let Some(others) = content.get("alt_aliases").and_then(Value::as_array) {
        let others: Vec<Value> = others.iter().filter(|alias| is_moved(alias)).cloned().collect();
        if !others.is_empty() {
            kept.insert("alt_aliases".to_owned(), others.into());
        }
    }
    (!kept.is_empty()).then_some(kept)
}

/// The users whom the create event makes creators.
fn creators<'e>(version: &'e RoomVersion, create: &'e matriarch_rules::Event) -> Vec<&'e str> {
    let additional = power_levels::additional_creators(version, create);
    power_levels::creator(version, create).into_iter().chain(additional).collect()
}
