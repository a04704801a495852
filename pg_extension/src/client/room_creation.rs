//! `POST /createRoom`: makes a room and its first events, in the order of the specification, in one
//! transaction.

pub mod levels;
pub mod request;

use std::rc::Rc;

use matriarch_rules::{Map, RoomVersion, build::BuiltEvent};
use pgrx::pg_extern;
use serde_json::{Value, json};

use self::request::{CreateRoom, Preset};
use crate::{
    append::{self, LocalEvent, content, make_create_event},
    base::{
        ids::{now_ms, random_letters},
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
        users::{self, User},
    },
    client::{room_aliases, room_membership::set_member},
    room::Room,
};

/// `POST /createRoom`
///
/// `elsewhere` are the remote users in `invite`. The API node invites them afterwards, as their servers must
/// sign the invites. `default_version` is the room version if the request names none, and
/// `available_versions` are those that it may name.
#[pg_extern]
fn create_room(
    token_hash: &[u8],
    request: &str,
    elsewhere: Vec<String>,
    default_version: &str,
    available_versions: Vec<String>,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let creator = Session::authenticate(db, token_hash)?.user();
        let signer = Signer::current(db);
        let request = CreateRoom::parse(request, &creator, &signer, default_version, &available_versions)?;
        // Something was written, so a refusal must roll it back.
        Ok(create(db, &signer, &creator, &request, &elsewhere).unwrap_or_else(|refusal| refusal.abort()))
    })
}

fn create(
    db: &Db<'_>,
    signer: &Rc<Signer>,
    creator: &User,
    request: &CreateRoom,
    elsewhere: &[String],
) -> Result<Response> {
    let new = NewRoom {
        version: request.version,
        room_id: random_room_id(request.version, signer),
        create_content: request.create_content.clone(),
        published: request.published,
    };
    new.begin(db, signer, creator, now_ms(), |room| fill(room, creator, request, elsewhere))
}

/// A random room id; `None` in room versions where the create event gives the room its id.
pub fn random_room_id(version: &RoomVersion, signer: &Signer) -> Option<String> {
    (!version.room_id_is_create_event_id).then(|| format!("!{}:{}", random_letters(18), signer.server_name))
}

/// A room to be made.
pub struct NewRoom {
    pub version: &'static RoomVersion,
    /// The result of [`random_room_id`].
    pub room_id: Option<String>,
    pub create_content: Map,
    pub published: bool,
}

impl NewRoom {
    /// The create event, and the room's id.
    pub fn create_event(
        &self,
        signer: &Signer,
        creator: &User,
        origin_server_ts: i64,
    ) -> Result<(BuiltEvent, String)> {
        let (room_id, content) = (self.room_id.clone(), self.create_content.clone());
        let built = make_create_event(self.version, signer, creator, room_id, content, origin_server_ts)?;
        let room_id = self.room_id.clone().unwrap_or_else(|| built.event.event_id().replacen('$', "!", 1));
        Ok((built, room_id))
    }

    /// Makes the room, appends its create event with the given `origin_server_ts` (or a later one, if the
    /// room would have the id of another), and calls `fill`.
    pub fn begin<R>(
        self,
        db: &Db<'_>,
        signer: &Rc<Signer>,
        creator: &User,
        mut origin_server_ts: i64,
        mut fill: impl FnMut(&mut Room<'_>) -> Result<R>,
    ) -> Result<R> {
        loop {
            let (built, room_id) = self.create_event(signer, creator, origin_server_ts)?;
            let fill = |room: &mut Room<'_>| {
                append::append_create(room, creator, built).map_err(invalid_state)?;
                fill(room)
            };
            match Room::create(db, Rc::clone(signer), &room_id, self.version, self.published, fill) {
                Some(result) => return result,
                // Since room version 12, create events of one user with equal content and time would make the
                // same room.
                None => origin_server_ts += 1,
            }
        }
    }
}

/// Appends the events after the create event.
fn fill(room: &mut Room<'_>, creator: &User, request: &CreateRoom, elsewhere: &[String]) -> Result<Response> {
    let invited: Vec<&str> =
        request.invite.iter().filter(|user_id| !elsewhere.contains(user_id)).map(String::as_str).collect();
    users::intern(room.db, &invited);

    let membership = |membership: &str| Map::from_iter([("membership".to_owned(), membership.into())]);
    set_member(room, creator, &creator.id, membership("join")).map_err(invalid_state)?;
    let set = |room: &mut Room<'_>, event_type: &str, state_key: &str, content: Map| {
        set_state(room, creator, event_type, state_key, content).map_err(invalid_state)
    };
    set(room, "m.room.power_levels", "", levels::initial(creator, request)?)?;
    if let Some(alias) = &request.alias {
        if !room_aliases::claim(room.db, alias, room.nid, creator.nid)? {
            return Err(MatrixError::new(400, "M_ROOM_IN_USE", format!("The alias {alias} is taken.")));
        }
        set(room, "m.room.canonical_alias", "", object(json!({ "alias": alias })))?;
    }
    for (event_type, content) in preset_state(request.preset) {
        if !request
            .initial_state
            .iter()
            .any(|state| state.event_type == event_type && state.state_key.is_empty())
        {
            set(room, event_type, "", object(content))?;
        }
    }
    for state in &request.initial_state {
        let mut content = state.content.clone();
        if state.event_type == "m.room.power_levels" && state.state_key.is_empty() {
            levels::fit_users(&mut content, creator, request)?;
        }
        set(room, &state.event_type, &state.state_key, content)?;
    }
    if let Some(name) = &request.name {
        set(room, "m.room.name", "", object(json!({ "name": name })))?;
    }
    if let Some(topic) = &request.topic {
        let content = json!({ "topic": topic, "m.topic": { "m.text": [{ "body": topic }] } });
        set(room, "m.room.topic", "", object(content))?;
    }
    for user_id in invited {
        let mut content = membership("invite");
        if request.is_direct {
            content.insert("is_direct".to_owned(), true.into());
        }
        match set_member(room, creator, user_id, content) {
            // The room is made without users who want no invites.
            Err(refusal) if refusal.errcode == "M_INVITE_BLOCKED" => {}
            invited => drop(invited?),
        }
    }
    Ok(room.answer(json!({ "room_id": room.id })))
}

pub fn set_state(
    room: &mut Room<'_>,
    creator: &User,
    event_type: &str,
    state_key: &str,
    content: Map,
) -> Result<()> {
    if event_type == "m.room.member" {
        set_member(room, creator, state_key, content)?;
    } else {
        content::check(room, event_type, &content)?;
        append::append(room, LocalEvent::state(creator, event_type, state_key, content))?;
    }
    Ok(())
}

/// If the authorization rules refuse an event of a new room, the request is at fault.
pub fn invalid_state(error: MatrixError) -> MatrixError {
    if error.status == 403 { MatrixError::new(400, "M_INVALID_ROOM_STATE", error.error) } else { error }
}

/// The state events of a preset.
fn preset_state(preset: Preset) -> [(&'static str, Value); 3] {
    let (join_rule, guest_access) = match preset {
        Preset::Public => ("public", "forbidden"),
        Preset::Private | Preset::TrustedPrivate => ("invite", "can_join"),
    };
    [
        ("m.room.join_rules", json!({ "join_rule": join_rule })),
        ("m.room.history_visibility", json!({ "history_visibility": "shared" })),
        ("m.room.guest_access", json!({ "guest_access": guest_access })),
    ]
}

pub fn object(value: Value) -> Map {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
