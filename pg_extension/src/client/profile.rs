//! Profiles. Client-Server API, "Profiles".

use matriarch_rules::{
    Map,
    identifiers::{MAX_ID_BYTES, is_common_namespaced_identifier, is_user_id},
};
use matriarch_wire::Outcome;
use pgrx::{PgSqlErrorCode, ereport, pg_extern};
use serde_json::{Value, json};

use crate::{
    append::{self, LocalEvent},
    base::{
        request,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode, Xid},
        users::User,
    },
    room::Room,
};

/// The size of a whole profile as JSON.
const MAX_PROFILE_BYTES: usize = 65_536;
/// Fields that member events contain must be much smaller than an event.
const MAX_DISPLAYNAME_CHARS: usize = 256;
const MAX_AVATAR_URL_BYTES: usize = 1000;

/// Whether member events contain the field.
fn is_shown_in_rooms(key: &str) -> bool {
    matches!(key, "displayname" | "avatar_url")
}

/// Checks a key: Appendices, "Common Namespaced Identifier Grammar", which the predefined keys obey too.
fn check_key(key: &str) -> Result<()> {
    if key.len() > MAX_ID_BYTES {
        return Err(MatrixError::new(400, "M_KEY_TOO_LARGE", "The key is longer than 255 bytes."));
    }
    if is_common_namespaced_identifier(key) {
        Ok(())
    } else {
        Err(MatrixError::invalid_param("Invalid profile key."))
    }
}

/// Checks a field's new value. Returns `None` if the field is to be deleted: clients send an empty name or
/// avatar for that.
fn check_value(key: &str, value: Value) -> Result<Option<Value>> {
    if !matches!(key, "displayname" | "avatar_url" | "m.tz") {
        return Ok(Some(value));
    }
    let Value::String(string) = value else {
        return Err(MatrixError::bad_json(format!("`{key}` must be a string.")));
    };
    let sound = match key {
        "displayname" => string.chars().count() <= MAX_DISPLAYNAME_CHARS && !string.contains('\0'),
        "avatar_url" => string.is_empty() || is_mxc_uri(&string),
        _ => true,
    };
    match sound {
        false => Err(MatrixError::invalid_param(format!("`{key}` is too long or malformed."))),
        true if string.is_empty() && is_shown_in_rooms(key) => Ok(None),
        true => Ok(Some(Value::String(string))),
    }
}

fn is_mxc_uri(uri: &str) -> bool {
    uri.len() <= MAX_AVATAR_URL_BYTES
        && uri
            .strip_prefix("mxc://")
            .and_then(|rest| rest.split_once('/'))
            .is_some_and(|(server, media)| !server.is_empty() && !media.is_empty() && !uri.contains('\0'))
}

const READ: &str = "select key, value from profiles where user_nid = $1";

const WRITE: &str = "
    insert into profiles (user_nid, key, value) values ($1, $2, $3)
    on conflict (user_nid, key) do update set value = excluded.value";

const DELETE: &str = "delete from profiles where user_nid = $1 and key = $2";

/// How many rooms one transaction locks at most to show a profile in them.
const PORTION: i32 = 20;

const JOINS_MANY: &str = "
    select from memberships where user_nid = $1 and membership = 'join' offset $2 limit 1";

/// A user with more rooms waits in this table until all show the profile. A change begins from the first
/// room again.
const SHOW_LATER: &str = "
    insert into unshown_profiles (user_nid) values ($1)
    on conflict (user_nid) do update set after_nid = 0, xid = excluded.xid";

const UNSHOWN: &str = "
    select p.user_nid, u.user_id, p.after_nid, p.xid
    from unshown_profiles p
    join users u using (user_nid)
    order by p.xid
    limit 1";

/// The next rooms of the user, in ascending order.
const NEXT_ROOMS: &str = "
    select r.room_nid, r.room_id
    from memberships m
    join rooms r using (room_nid)
    where m.user_nid = $1 and m.membership = 'join' and m.room_nid > $2
    order by r.room_nid
    limit $3";

/// Does nothing if the profile was changed in the meantime, or another node was faster.
const ADVANCE: &str = "
    update unshown_profiles set after_nid = $4 where user_nid = $1 and after_nid = $2 and xid = $3";

const ALL_SHOWN: &str = "delete from unshown_profiles where user_nid = $1 and after_nid = $2 and xid = $3";

/// In ascending order, as all transactions that lock several rooms do.
const LOCK_ROOMS: &str = "
    select r.room_id
    from rooms r
    join memberships m using (room_nid)
    where m.user_nid = $1 and m.membership = 'join'
    order by r.room_nid
    for update of r";

const JOINED_OTHERS: &str = "
    select
    from rooms r
    join memberships m using (room_nid)
    where m.user_nid = $1 and m.membership = 'join' and r.room_id <> all($2)
    limit 1";

/// Locks the rooms that the user is joined to, and then the profile. Joins at the same time wait, or were
/// waited for.
fn lock_rooms_and_profile(db: &Db<'_>, session: &Session) -> Vec<String> {
    let locked: Vec<String> =
        db.query(LOCK_ROOMS, &[session.user_nid.into()]).map(|row| row.get("room_id")).collect();
    session.lock_user(db);
    if db.query_opt(JOINED_OTHERS, &[session.user_nid.into(), locked.clone().into()]).is_some() {
        // A room must not be locked after the profile. The API node retries the statement.
        ereport!(
            ERROR,
            PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            "the user joined a room while its profile was about to change"
        );
    }
    locked
}

fn read(db: &Db<'_>, user_nid: i64) -> Map {
    db.query(READ, &[user_nid.into()])
        .filter_map(|row| Some((row.get("key"), serde_json::from_str(&row.get::<String>("value")).ok()?)))
        .collect()
}

/// Sets or deletes a field, and updates the user's member events. Of a user in many rooms, `show_profiles`
/// updates them afterwards.
fn change(db: &Db<'_>, session: &Session, key: &str, value: Option<Value>) -> Result<Response> {
    let is_shown = is_shown_in_rooms(key);
    let is_in_many =
        is_shown && db.query_opt(JOINS_MANY, &[session.user_nid.into(), PORTION.into()]).is_some();
    let rooms = if is_shown && !is_in_many {
        lock_rooms_and_profile(db, session)
    } else {
        session.lock_user(db);
        Vec::new()
    };
    let mut profile = read(db, session.user_nid);
    if profile.get(key) == value.as_ref() {
        return Ok(Response::empty());
    }
    match value {
        Some(value) => {
            let text = value.to_string();
            profile.insert(key.to_owned(), value);
            if json!(profile).to_string().len() > MAX_PROFILE_BYTES {
                let error = "The profile would be larger than 64 KiB.";
                return Err(MatrixError::new(400, "M_PROFILE_TOO_LARGE", error));
            }
            db.execute(WRITE, &[session.user_nid.into(), key.into(), text.as_str().into()]);
        }
        None => {
            profile.remove(key);
            db.execute(DELETE, &[session.user_nid.into(), key.into()]);
        }
    }
    if is_in_many {
        db.execute(SHOW_LATER, &[session.user_nid.into()]);
        return Ok(Response { outcome: Some(Outcome::Unfinished), ..Response::empty() });
    }
    let mut response = Response::empty();
    let user = session.user();
    for room_id in rooms {
        Room::with(db, &room_id, |room| show(room, &user, &profile, &mut response));
    }
    Ok(response)
}

/// Has the next portion of rooms show a profile that was changed. The answer has `more` if there may be
/// others.
#[pg_extern]
fn show_profiles() -> ResponseRows {
    respond(Mode::Write, |db| {
        let Some(row) = db.query_opt(UNSHOWN, &[]) else { return Ok(single("more", false)) };
        let user = User { nid: row.get("user_nid"), id: row.get("user_id") };
        let (after_nid, xid): (i64, Xid) = (row.get("after_nid"), row.get("xid"));
        let rooms: Vec<(i64, String)> = db
            .query(NEXT_ROOMS, &[user.nid.into(), after_nid.into(), PORTION.into()])
            .map(|row| (row.get("room_nid"), row.get("room_id")))
            .collect();
        let mut response = single("more", true);
        for (_, room_id) in &rooms {
            // Read under the room's lock: a join that waited for it has the profile of then.
            Room::with(db, room_id, |room| show(room, &user, &read(db, user.nid), &mut response));
        }
        let args = [user.nid.into(), after_nid.into(), xid.into()];
        match rooms.last() {
            Some((last, _)) => {
                let [user_nid, after_nid, xid] = args;
                db.execute(ADVANCE, &[user_nid, after_nid, xid, (*last).into()])
            }
            None => db.execute(ALL_SHOWN, &args),
        };
        Ok(response)
    })
}

/// Shows the profile in a room by a new member event, if the user is still joined, and adds what follows to
/// the response. If the room refuses the event, its member event stays as it was.
fn show(room: &mut Room<'_>, user: &User, profile: &Map, response: &mut Response) {
    if append_profile(room, user, profile).is_some() {
        let shown = room.answer(json!({}));
        response.wake_rooms.extend(shown.wake_rooms);
        response.unsigned.extend(shown.unsigned);
    }
}

fn append_profile(room: &mut Room<'_>, user: &User, profile: &Map) -> Option<()> {
    let (membership, _) = room.membership(&user.id)?;
    if membership != "join" {
        return None;
    }
    let shown = profile.iter().filter(|(key, _)| is_shown_in_rooms(key));
    let mut content: Map = shown.map(|(key, value)| (key.clone(), value.clone())).collect();
    content.insert("membership".to_owned(), "join".into());
    append::append_once_signed(room, LocalEvent::state(user, "m.room.member", &user.id, content)).ok()
}

/// `PUT /profile/{userId}/{keyName}`; `body` is the request's JSON object.
#[pg_extern(volatile)]
fn set_profile_field(token_hash: &[u8], user_id: &str, key: &str, body: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        check_key(key)?;
        let value = request::object(body)?.remove(key);
        let value = value.ok_or_else(|| MatrixError::missing_param(format!("The body has no `{key}`.")))?;
        change(db, &session, key, check_value(key, value)?)
    })
}

/// `DELETE /profile/{userId}/{keyName}`
#[pg_extern(volatile)]
fn delete_profile_field(token_hash: &[u8], user_id: &str, key: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        check_key(key)?;
        change(db, &session, key, None)
    })
}

/// Returns one row without a field for a user who has no fields.
const FIND: &str = "
    select p.key, p.value
    from users u
    join accounts a using (user_nid)
    left join profiles p using (user_nid)
    where u.user_id = $1 and a.deactivated_at is null";

/// `GET /profile/{userId}` and, with a key, `GET /profile/{userId}/{keyName}`
///
/// The profiles of local users are public.
#[pg_extern(stable)]
fn profile(user_id: &str, key: Option<&str>) -> ResponseRows {
    respond(Mode::Read, |db| {
        if !is_user_id(user_id) {
            return Err(MatrixError::invalid_param("This is not a valid user ID."));
        }
        let mut known = false;
        let mut profile = Map::new();
        for row in db.query(FIND, &[user_id.into()]) {
            known = true;
            let field = row.opt::<String>("key").zip(row.opt::<String>("value"));
            profile.extend(field.and_then(|(key, value)| Some((key, serde_json::from_str(&value).ok()?))));
        }
        if !known {
            return Err(MatrixError::not_found("Profile not found."));
        }
        if let Some(key) = key {
            profile.retain(|name, _| name == key);
            if profile.is_empty() {
                return Err(MatrixError::not_found("The profile does not have this field."));
            }
        }
        Ok(Response::json(&Value::Object(profile)))
    })
}
