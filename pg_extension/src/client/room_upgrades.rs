//! `POST /rooms/{roomId}/upgrade`: replaces a room by one of another version. Client-Server API, "Room
//! Upgrades".

use std::rc::Rc;

use matriarch_rules::{Event, Map, RoomVersion, power_levels::upgrade, server_acl};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent},
    base::{
        ids::now_ms,
        request::Body,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
        users::User,
    },
    client::room_creation::{
        NewRoom, invalid_state, object, random_room_id,
        request::{additional_creators, available, set_additional_creators},
        set_state,
    },
    intake::{self, signed},
    room::{Room, parse_stored},
};

/// The state that is copied. Power levels are copied last, as they may forbid the new creator to do the rest.
const COPIED: [&str; 8] = [
    "m.room.join_rules",
    "m.room.history_visibility",
    "m.room.guest_access",
    "m.room.name",
    "m.room.topic",
    "m.room.avatar",
    "m.room.encryption",
    SERVER_ACL,
];

const SERVER_ACL: &str = "m.room.server_acl";
const TOMBSTONE: &str = "m.room.tombstone";
const POWER_LEVELS: &str = "m.room.power_levels";
const CANONICAL_ALIAS: &str = "m.room.canonical_alias";

/// Further state that is copied: bans, and the children of a space.
const KEYED: &str = "
    select k.type, k.state_key, e.json
    from room_state_keys k
    join events e on e.event_nid = k.current_event_nid
    left join users u on u.user_id = k.state_key
    left join memberships m on m.room_nid = k.room_nid and m.user_nid = u.user_nid
    where k.room_nid = $1 and (k.type = 'm.space.child' or k.type = 'm.room.member' and m.membership = 'ban')
    order by k.type, k.state_key";

/// Moves the aliases of the old room. From a room that replaced it before, those that an upgrade moved there.
const MOVE_ALIASES: &str = "
    update room_aliases a
    set room_nid = $2
    where a.room_nid = $1
        or a.room_nid = $3 and a.created_at < (select created_at from rooms where room_nid = $3)";

const ALIASES: &str = "select room_alias from room_aliases where room_nid = $1";

/// Rows that are locked are skipped, because they would be locked out of order.
const UNPUBLISH: &str = "
    with listed as (
        select room_nid from rooms where room_nid = any($1) and published for update skip locked
    )
    update rooms r set published = false from listed l where r.room_nid = l.room_nid
    returning true as was_published";

const REPLACEMENT: &str = "
    select r.room_nid, r.room_version, e.json
    from rooms r
    join room_state_keys k on k.room_nid = r.room_nid and k.type = 'm.room.create' and k.state_key = ''
    join events e on e.event_nid = k.current_event_nid
    where r.room_id = $1";

/// Clients and proxies repeat a request whose answer was lost. For this time, in milliseconds, a user's
/// repeated upgrade to the same version is answered with the room that the first one made.
const REPEATED_MS: i64 = 5 * 60 * 1000;

/// The body, and the results of the first attempt, if the room's policy server had to sign the tombstone.
struct Request<'r> {
    version: &'static RoomVersion,
    additional_creators: Vec<String>,
    tombstone: Option<&'r str>,
    created_at: i64,
}

/// `POST /rooms/{roomId}/upgrade`
///
/// If the room's policy server must sign the tombstone first, the answer returns it with `created_at`. The
/// API node then repeats the request with both; they are NULL before.
#[pg_extern]
fn upgrade_room(
    token_hash: &[u8],
    room_id: &str,
    request: &str,
    available_versions: Vec<String>,
    tombstone: Option<&str>,
    created_at: Option<i64>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let user = Session::authenticate(db, token_hash)?.user();
        let body = Body::parse(request)?;
        let version = available(body.required_string("new_version")?, &available_versions)?;
        let additional_creators = match body.array("additional_creators")? {
            Some(creators) if version.privileged_creators => additional_creators(&creators.to_vec().into())?,
            _ => Vec::new(),
        };
        let created_at = created_at.unwrap_or_else(now_ms);
        let request = Request { version, additional_creators, tombstone, created_at };
        let done = Room::with(db, room_id, |old| {
            let before = Replacement::find(old);
            if let Some(made) = before.as_ref().filter(|made| made.answers(&user, &request))
                && old.is_joined(&user.id)
            {
                return Ok(Response::json(&json!({ "replacement_room": made.room_id })));
            }
            let may = old.power_levels(|levels| levels.may_send(&user.id, TOMBSTONE, true));
            if !old.is_joined(&user.id) || may != Some(true) {
                return Err(MatrixError::forbidden("You may not upgrade this room."));
            }
            // All bans must be copied.
            old.await_whole()?;
            match upgrade(db, old, &user, &request, before.map(|before| before.room_nid)) {
                // Nothing was written yet.
                Err(mut refusal) if refusal.unsigned.is_some() => {
                    if let Some(unsigned) = &mut refusal.unsigned {
                        unsigned.created_at = Some(created_at);
                    }
                    Err(refusal)
                }
                Err(refusal) => refusal.abort(),
                upgraded => upgraded,
            }
        });
        done.unwrap_or_else(|| Err(MatrixError::not_found("The room is not known.")))
    })
}

/// A room that replaced the old room before.
struct Replacement {
    room_nid: i64,
    room_id: String,
    room_version: String,
    tombstone: Rc<Event>,
}

impl Replacement {
    /// Finds the room that the tombstone names, if it names the old room as its predecessor.
    fn find(old: &mut Room<'_>) -> Option<Self> {
        let tombstone = old.state(TOMBSTONE, "")?.event;
        let room_id = tombstone.content().get("replacement_room")?.as_str()?.to_owned();
        let room_id = Some(room_id).filter(|room_id| !room_id.contains('\0'))?;
        let row = old.db.query_opt(REPLACEMENT, &[room_id.as_str().into()])?;
        let create = parse_stored(&row.get::<String>("json"));
        let predecessor = create.get("content")?.get("predecessor")?.get("room_id")?;
        (*predecessor == *old.id).then(|| Self {
            room_nid: row.get("room_nid"),
            room_id,
            room_version: row.get("room_version"),
            tombstone,
        })
    }

    /// Whether the room answers a user's request, because the request repeats the one that made it.
    fn answers(&self, user: &User, request: &Request<'_>) -> bool {
        self.tombstone.sender() == user.id
            && self.room_version == request.version.id
            && now_ms().saturating_sub(self.tombstone.origin_server_ts()) < REPEATED_MS
    }
}

/// `before` is the room that replaced the old room before.
fn upgrade(
    db: &Db<'_>,
    old: &mut Room<'_>,
    user: &User,
    request: &Request<'_>,
    before: Option<i64>,
) -> Result<Response> {
    let signer = Signer::current(db);
    let Some(create) = old.state("m.room.create", "") else {
        return Err(MatrixError::not_found("The room has no create event."));
    };
    let levels = old.state(POWER_LEVELS, "").and_then(|levels| {
        let levels = levels.event.content().clone();
        let (version, additional) = (request.version, &request.additional_creators);
        upgrade::of_replacement(levels, old.version, &create.event, version, &user.id, additional)
    });
    let copied: Vec<(&str, Map)> = COPIED
        .iter()
        .filter_map(|event_type| Some((*event_type, old.state(event_type, "")?.event.content().clone())))
        // A list that denies this server would make the new room as useless as the old one.
        .filter(|(event_type, content)| {
            *event_type != SERVER_ACL || server_acl::admits(content, &signer.server_name)
        })
        .collect();
    let keyed: Vec<(String, String, Map)> = db
        .query(KEYED, &[old.nid.into()])
        .map(|row| {
            let content = parse_stored(&row.get::<String>("json")).remove("content").unwrap_or_default();
            (row.get("type"), row.get("state_key"), object(content))
        })
        .collect();

    let signed = request.tombstone.map(|tombstone| Signed::parse(old, tombstone)).transpose()?;
    let room_id = random_room_id(request.version, &signer)
        .map(|random| signed.as_ref().map_or(random, |signed| signed.replacement.clone()));
    let mut predecessor = object(json!({ "room_id": old.id }));
    if let Some(replacement) = &room_id {
        predecessor
            .insert("event_id".to_owned(), send_tombstone(old, user, replacement, signed.as_ref())?.into());
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

    let names_itself = room_id.is_none();
    let mut new = NewRoom { version: request.version, room_id, create_content, published: false };
    let (_, replacement) = new.create_event(&signer, user, request.created_at)?;
    if names_itself {
        send_tombstone(old, user, &replacement, signed.as_ref())?;
    }
    let listed: Vec<i64> = [old.nid].into_iter().chain(before).collect();
    new.published = db.query_opt(UNPUBLISH, &[listed.into()]).is_some();
    let canonical_alias = old.state(CANONICAL_ALIAS, "").map(|alias| alias.event.content().clone());
    // The new room's members get what they had set for the old one, if its tombstone is stored.
    old.write_events();
    let mut response = new.begin(db, &signer, user, request.created_at, |room| {
        if room.id != replacement {
            return Err(MatrixError::new(409, "M_UNKNOWN", "The room is being upgraded already."));
        }
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
        db.execute(MOVE_ALIASES, &[old.nid.into(), room.nid.into(), before.into()]);
        let moved: Vec<String> =
            db.query(ALIASES, &[room.nid.into()]).map(|row| row.get("room_alias")).collect();
        if let Some(content) = canonical_alias.as_ref().and_then(|content| only_moved(content, &moved)) {
            set(room, CANONICAL_ALIAS, "", content)?;
        }
        if let Some(levels) = &levels {
            set(room, POWER_LEVELS, "", levels.clone())?;
        }
        Ok(room.answer(json!({ "replacement_room": room.id })))
    })?;
    if canonical_alias.is_some_and(|content| !content.is_empty()) {
        try_to_set(old, user, CANONICAL_ALIAS, Map::new());
    }
    if let Some(levels) = old.state(POWER_LEVELS, "") {
        let levels = upgrade::after_tombstone(levels.event.content().clone());
        try_to_set(old, user, POWER_LEVELS, levels);
    }
    let mut of_old = old.answer(Value::Null);
    response.wake_rooms.append(&mut of_old.wake_rooms);
    response.wake_users.append(&mut of_old.wake_users);
    response.unsigned.append(&mut of_old.unsigned);
    Ok(response)
}

/// A tombstone signed by the old room's policy server.
struct Signed<'s> {
    json: &'s str,
    event: Event,
    replacement: String,
}

impl<'s> Signed<'s> {
    fn parse(old: &Room<'_>, json: &'s str) -> Result<Self> {
        let event = intake::parse(old.version, &old.id, json)
            .map_err(|malformed| MatrixError::invalid_param(malformed.to_string()))?;
        let replacement = event.content().get("replacement_room").and_then(Value::as_str).unwrap_or_default();
        Ok(Self { json, replacement: replacement.to_owned(), event })
    }
}

/// Sends the tombstone, which names the new room, in the old room. Returns its event id.
fn send_tombstone(
    old: &mut Room<'_>,
    user: &User,
    replacement: &str,
    signed: Option<&Signed<'_>>,
) -> Result<String> {
    if let Some(Signed { json, event, replacement: signed_for }) = signed {
        if !event.is(TOMBSTONE, "") || event.sender() != user.id || signed_for != replacement {
            return Err(MatrixError::invalid_param("This is another event than was to be signed."));
        }
        signed::append_signed(old, json, event)?;
        return Ok(event.event_id().to_owned());
    }
    let content = object(json!({ "body": "This room has been replaced", "replacement_room": replacement }));
    Ok(append::append(old, LocalEvent::state(user, TOMBSTONE, "", content))?.event_id)
}

/// Sends a state event in the old room, if the user may.
fn try_to_set(old: &mut Room<'_>, user: &User, event_type: &str, content: Map) {
    // A refused event leaves the room as it was.
    drop(append::append_once_signed(old, LocalEvent::state(user, event_type, "", content)));
}

/// The content of a canonical alias event with only the aliases that were moved to the new room.
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
