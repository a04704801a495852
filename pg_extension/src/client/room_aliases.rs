//! Local room aliases. Client-Server API, "Room aliases".

use matriarch_rules::{Map, identifiers::is_room_alias};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent},
    base::{
        lookup,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        signing::Signer,
        spi::{Db, Mode},
    },
    client::room_directory::Description,
    room::{Room, servers::has_member},
};

const CANONICAL_ALIAS: &str = "m.room.canonical_alias";

fn check_alias(alias: &str) -> Result<()> {
    if is_room_alias(alias) { Ok(()) } else { Err(MatrixError::invalid_param("Room alias invalid.")) }
}

fn not_found(alias: &str) -> MatrixError {
    MatrixError::not_found(format!("Room alias {alias} not found."))
}

const CLAIM: &str = "
    insert into room_aliases (room_alias, room_nid, creator_nid) values ($1, $2, $3)
    on conflict (room_alias) do nothing";

/// The most aliases that a user has made and that still exist.
const MAX_ALIASES: i64 = 1000;

const MADE: &str = "select count(*) as aliases from room_aliases where creator_nid = $1";

/// Makes an alias. Returns whether it was free. 413 `M_TOO_LARGE` if the user has too many.
pub fn claim(db: &Db<'_>, alias: &str, room_nid: i64, creator_nid: i64) -> Result<bool> {
    if db.query_one(MADE, &[creator_nid.into()]).get::<i64>("aliases") >= MAX_ALIASES {
        return Err(MatrixError::too_large("You have made too many room aliases."));
    }
    Ok(db.execute(CLAIM, &[alias.into(), room_nid.into(), creator_nid.into()]) > 0)
}

/// `PUT /directory/room/{roomAlias}`
///
/// Any member of the room may add an alias.
#[pg_extern(volatile)]
fn set_alias(token_hash: &[u8], alias: &str, room_id: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        check_alias(alias)?;
        if !Signer::current(db).is_local(alias) {
            return Err(MatrixError::invalid_param("The alias is of another server."));
        }
        lookup::known_room(db, room_id)?;
        let room_nid = lookup::joined_room(db, &session, room_id)?;
        if !claim(db, alias, room_nid, session.user_nid)? {
            return Err(MatrixError::new(409, "M_UNKNOWN", format!("Room alias {alias} already exists.")));
        }
        Ok(Response::empty())
    })
}

const FIND: &str = "
    select r.room_id, r.room_nid, a.creator_nid
    from room_aliases a
    join rooms r using (room_nid)
    where a.room_alias = $1";

/// The servers in a room: this one first, or last while it cannot let others in because the room is partial,
/// and those with most members before others.
const SERVERS: &str = concat!(
    "
    select found.server_name
    from (
        select s.server_name, case when r.partial then 2 else 0 end as turn, 0 as joined_members
        from rooms r
        cross join server s
        where r.room_nid = $1 and ",
    has_member!("r.room_nid", "s.server_name", "'join'"),
    "
        union all
        (
            select d.server_name, 1, dr.joined_members
            from destination_rooms dr
            join destinations d using (destination_nid)
            where dr.room_nid = $1 and dr.left_nid is null
            order by dr.joined_members desc, d.server_name
            limit $2 - 1
        )
    ) found
    order by found.turn, found.joined_members desc, found.server_name"
);

/// The number of servers that an alias names.
const MAX_SERVERS: i64 = 50;

/// `GET /directory/room/{roomAlias}`
#[pg_extern(stable)]
fn alias(alias: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        check_alias(alias)?;
        let row = db.query_opt(FIND, &[alias.into()]).ok_or_else(|| not_found(alias))?;
        let room_id: String = row.get("room_id");
        let servers = db.query(SERVERS, &[row.get::<i64>("room_nid").into(), MAX_SERVERS.into()]);
        let mut servers: Vec<String> = servers.map(|row| row.get("server_name")).collect();
        if servers.is_empty() {
            servers.push(Signer::current(db).server_name.clone());
        }
        Ok(Response::json(&json!({ "room_id": room_id, "servers": servers })))
    })
}

const DELETE: &str = "delete from room_aliases where room_alias = $1 and room_nid = $2";

/// `DELETE /directory/room/{roomAlias}`
///
/// For the user who created the alias, users who may set the room's canonical alias, and administrators of
/// the server. Removes the alias from the canonical alias event too, if the user may send that.
#[pg_extern(volatile)]
fn delete_alias(token_hash: &[u8], alias: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        check_alias(alias)?;
        let row = db.query_opt(FIND, &[alias.into()]).ok_or_else(|| not_found(alias))?;
        let (room_id, creator_nid): (String, i64) = (row.get("room_id"), row.get("creator_nid"));
        let deleted = Room::with(db, &room_id, |room| {
            if creator_nid != session.user_nid && !may_manage_aliases(db, room, &session) {
                return Err(MatrixError::forbidden("You may not delete this alias."));
            }
            if db.execute(DELETE, &[alias.into(), room.nid.into()]) == 0 {
                return Err(not_found(alias));
            }
            withdraw(room, &session, alias);
            Ok(room.answer(json!({})))
        });
        deleted.unwrap_or_else(|| Err(not_found(alias)))
    })
}

const IS_ADMIN: &str = "select from accounts where user_nid = $1 and admin";

/// Whether the user may change the room's aliases and its entry in the room directory: members who may set
/// its canonical alias, and administrators of the server.
pub fn may_manage_aliases(db: &Db<'_>, room: &mut Room<'_>, session: &Session) -> bool {
    let user_id = session.user_id.as_str();
    let joined = room.membership(user_id).is_some_and(|(membership, _)| membership == "join");
    let mut may_send = || room.power_levels(|levels| levels.may_send(user_id, CANONICAL_ALIAS, true));
    joined && may_send() == Some(true) || db.query_opt(IS_ADMIN, &[session.user_nid.into()]).is_some()
}

/// Removes an alias from the room's canonical alias event, if it is there and the user may send the event.
fn withdraw(room: &mut Room<'_>, session: &Session, alias: &str) {
    let Some(current) = room.state(CANONICAL_ALIAS, "") else { return };
    let mut content: Map = current.event.content().clone();
    if content.get("alias").and_then(Value::as_str) == Some(alias) {
        content.remove("alias");
    }
    if let Some(Value::Array(others)) = content.get_mut("alt_aliases") {
        others.retain(|other| other.as_str() != Some(alias));
    }
    if &content == current.event.content() {
        return;
    }
    // A refused event leaves the room as it was.
    drop(append::append_once_signed(room, LocalEvent::state(&session.user(), CANONICAL_ALIAS, "", content)));
}

const OF_ROOM: &str = "select room_alias from room_aliases where room_nid = $1 order by room_alias";

/// `GET /rooms/{roomId}/aliases`
///
/// For members, and for all users if the room is world-readable.
#[pg_extern(stable)]
fn room_aliases(token_hash: &[u8], room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let room_nid = lookup::joined_room(db, &session, room_id).or_else(|refusal| {
            let room_nid = lookup::known_room(db, room_id).map_err(|_| refusal)?;
            let forbidden = || MatrixError::forbidden("You are not a member of the room.");
            Description::of(db, &[room_nid])
                .remove(&room_nid)
                .filter(Description::world_readable)
                .map(|_| room_nid)
                .ok_or_else(forbidden)
        })?;
        let aliases: Vec<String> =
            db.query(OF_ROOM, &[room_nid.into()]).map(|row| row.get("room_alias")).collect();
        Ok(single("aliases", aliases))
    })
}
