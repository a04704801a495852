//! Account data, global and of rooms. Client-Server API, "Client Config".

use pgrx::pg_extern;
use serde_json::json;

use crate::{
    base::{
        lookup::known_room,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
    },
    client::push_rules,
};

/// `account_data.room_nid` of what belongs to no room.
pub const GLOBAL: i64 = 0;

/// Longer types than events may have would not fit the primary key.
const MAX_TYPE_BYTES: usize = 255;

const READ: &str = "select content from account_data where user_nid = $1 and room_nid = $2 and type = $3";

/// The content of one type of a user's account data, as JSON text.
pub fn read(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str) -> Option<String> {
    db.query_opt(READ, &[user_nid.into(), room_nid.into(), data_type.into()]).map(|row| row.get(1))
}

const WRITE: &str = "
    insert into account_data (user_nid, room_nid, type, content) values ($1, $2, $3, $4)
    on conflict (user_nid, room_nid, type) do update set content = excluded.content, xid = excluded.xid";

/// Sets the content of one type of a user's account data. The caller wakes the user.
pub fn write(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str, content: &str) {
    db.execute(WRITE, &[user_nid.into(), room_nid.into(), data_type.into(), content.into()]);
}

fn scope(db: &Db<'_>, room_id: Option<&str>) -> Result<i64> {
    room_id.map_or(Ok(GLOBAL), |room_id| known_room(db, room_id))
}

/// `PUT /user/{userId}/account_data/{type}` and `PUT /user/{userId}/rooms/{roomId}/account_data/{type}`
///
/// 405 `M_BAD_JSON` for the types that the server manages.
#[pg_extern(volatile)]
fn set_account_data(
    token_hash: &[u8],
    user_id: &str,
    room_id: Option<&str>,
    data_type: &str,
    content: &str,
) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let room_nid = scope(db, room_id)?;
        if matches!(data_type, "m.fully_read" | push_rules::ACCOUNT_DATA_TYPE) {
            let reason = format!("Cannot set {data_type} through this API.");
            return Err(MatrixError::new(405, "M_BAD_JSON", reason));
        }
        if data_type.len() > MAX_TYPE_BYTES {
            return Err(MatrixError::invalid_param("The type is longer than 255 bytes."));
        }
        write(db, session.user_nid, room_nid, data_type, content);
        Ok(Response::empty().wake_user(session.user_nid))
    })
}

/// `GET /user/{userId}/account_data/{type}` and `GET /user/{userId}/rooms/{roomId}/account_data/{type}`
#[pg_extern(stable)]
fn account_data(token_hash: &[u8], user_id: &str, room_id: Option<&str>, data_type: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let room_nid = scope(db, room_id)?;
        if room_nid == GLOBAL && data_type == push_rules::ACCOUNT_DATA_TYPE {
            return Ok(Response::json(&json!({ "global": push_rules::default_ruleset(&session.user_id) })));
        }
        read(db, session.user_nid, room_nid, data_type)
            .map(Response::new)
            .ok_or_else(|| MatrixError::not_found("Account data not found."))
    })
}
