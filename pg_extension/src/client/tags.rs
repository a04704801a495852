//! Tags of rooms, kept as room account data of type `m.tag`. Client-Server API, "Room Tagging".

use pgrx::pg_extern;
use serde_json::{Map, Value, json};

use crate::base::{
    account_data,
    lookup::known_room,
    response::{MatrixError, Response, ResponseRows, Result, respond, single},
    session::Session,
    spi::{Db, Mode},
};

const TYPE: &str = "m.tag";
const MAX_TAG_BYTES: usize = 255;

/// The user's tags on a room. `m.tag` may also be set as plain account data, with any content.
fn read(db: &Db<'_>, user_nid: i64, room_nid: i64) -> Map<String, Value> {
    let content = account_data::read(db, user_nid, room_nid, TYPE);
    let content = content.and_then(|content| serde_json::from_str::<Map<String, Value>>(&content).ok());
    match content.and_then(|mut content| content.remove("tags")) {
        Some(Value::Object(tags)) => tags,
        _ => Map::new(),
    }
}

/// Reads, changes and writes the tags under the user's lock, so that concurrent edits are not lost.
/// `change` returns whether it changed anything. 413 `M_TOO_LARGE` if the user has too much account data.
fn edit(
    db: &Db<'_>,
    session: &Session,
    room_id: &str,
    change: impl FnOnce(&mut Map<String, Value>) -> bool,
) -> Result<Response> {
    let room_nid = known_room(db, room_id)?;
    session.lock_user(db);
    let mut tags = read(db, session.user_nid, room_nid);
    if !change(&mut tags) {
        return Ok(Response::empty());
    }
    let content = json!({ "tags": tags }).to_string();
    account_data::check_quota(db, session.user_nid, room_nid, TYPE, &content)?;
    account_data::write(db, session.user_nid, room_nid, TYPE, &content);
    Ok(Response::empty().wake_user(session.user_nid))
}

fn check_tag(tag: &str, content: &str) -> Result<Value> {
    if tag.len() > MAX_TAG_BYTES {
        return Err(MatrixError::invalid_param("The name of the tag is longer than 255 bytes."));
    }
    let Ok(Value::Object(content)) = serde_json::from_str(content) else {
        return Err(MatrixError::bad_json("The content of a tag must be a JSON object."));
    };
    match content.get("order") {
        None => {}
        Some(Value::Number(order)) if order.as_f64().is_some_and(|order| (0.0..=1.0).contains(&order)) => {}
        Some(Value::Number(_)) => return Err(MatrixError::invalid_param("`order` must be between 0 and 1.")),
        Some(_) => return Err(MatrixError::bad_json("`order` must be a number.")),
    }
    Ok(Value::Object(content))
}

/// `GET /user/{userId}/rooms/{roomId}/tags`
#[pg_extern(stable)]
fn tags(token_hash: &[u8], user_id: &str, room_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let room_nid = known_room(db, room_id)?;
        Ok(single("tags", read(db, session.user_nid, room_nid)))
    })
}

/// `PUT /user/{userId}/rooms/{roomId}/tags/{tag}`
#[pg_extern(volatile)]
fn set_tag(token_hash: &[u8], user_id: &str, room_id: &str, tag: &str, content: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let content = check_tag(tag, content)?;
        edit(db, &session, room_id, |tags| {
            tags.insert(tag.to_owned(), content.clone()).as_ref() != Some(&content)
        })
    })
}

/// `DELETE /user/{userId}/rooms/{roomId}/tags/{tag}`
#[pg_extern(volatile)]
fn delete_tag(token_hash: &[u8], user_id: &str, room_id: &str, tag: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        edit(db, &session, room_id, |tags| tags.remove(tag).is_some())
    })
}
