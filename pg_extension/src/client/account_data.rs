//! Account data, global and of rooms. Client-Server API, "Client Config".

use pgrx::pg_extern;
use serde_json::json;

use crate::{
    base::{
        account_data,
        lookup::known_room,
        response::{MatrixError, Response, ResponseRows, Result, respond},
        session::Session,
        spi::{Db, Mode},
    },
    client::push_rules,
};

/// The limit of event types. Longer ones would not fit into the primary key.
const MAX_TYPE_BYTES: usize = 255;

fn scope(db: &Db<'_>, room_id: Option<&str>) -> Result<i64> {
    room_id.map_or(Ok(account_data::GLOBAL), |room_id| known_room(db, room_id))
}

/// `PUT /user/{userId}/account_data/{type}` and `PUT /user/{userId}/rooms/{roomId}/account_data/{type}`
///
/// 405 `M_BAD_JSON` for the types that the server manages, 413 `M_TOO_LARGE` if the user has too much.
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
        account_data::check_quota(db, session.user_nid, room_nid, data_type, content)?;
        account_data::write(db, session.user_nid, room_nid, data_type, content);
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
        if room_nid == account_data::GLOBAL && data_type == push_rules::ACCOUNT_DATA_TYPE {
            return Ok(Response::json(&json!({ "global": push_rules::default_ruleset(&session.user_id) })));
        }
        account_data::read(db, session.user_nid, room_nid, data_type)
            .map(Response::new)
            .ok_or_else(|| MatrixError::not_found("Account data not found."))
    })
}
