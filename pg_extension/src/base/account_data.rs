//! Account data as it is stored.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::base::{
    response::{MatrixError, Result},
    spi::Db,
};

/// The `room_nid` of global account data.
pub const GLOBAL: i64 = 0;

const READ: &str = "select content from account_data where user_nid = $1 and room_nid = $2 and type = $3";

/// The content of a user's account data of one type, as JSON text.
pub fn read(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str) -> Option<String> {
    db.query_opt(READ, &[user_nid.into(), room_nid.into(), data_type.into()]).map(|row| row.get("content"))
}

/// The most entries of a user, and the most bytes of all of them: an initial sync returns them.
const MAX_ENTRIES: i64 = 20_000;
const MAX_BYTES: i64 = 8 << 20;
/// A change to so few bytes is not counted, to save reading the others.
const SMALL_BYTES: usize = 1024;

const OTHERS: &str = "
    select count(*) as entries, coalesce(sum(octet_length(content)), 0)::bigint as bytes
    from account_data
    where user_nid = $1 and not (room_nid = $2 and type = $3)";

/// Checks that the user may store this. 413 `M_TOO_LARGE` for more than a user may have.
pub fn check_quota(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str, content: &str) -> Result<()> {
    if content.len() <= SMALL_BYTES && read(db, user_nid, room_nid, data_type).is_some() {
        return Ok(());
    }
    let row = db.query_one(OTHERS, &[user_nid.into(), room_nid.into(), data_type.into()]);
    let bytes = i64::try_from(content.len()).unwrap_or(i64::MAX);
    if row.get::<i64>("entries") >= MAX_ENTRIES || bytes.saturating_add(row.get("bytes")) > MAX_BYTES {
        return Err(MatrixError::too_large("You have too much account data."));
    }
    Ok(())
}

const WRITE: &str = "
    insert into account_data (user_nid, room_nid, type, content) values ($1, $2, $3, $4)
    on conflict (user_nid, room_nid, type) do update set content = excluded.content, xid = excluded.xid";

/// Sets the content of one type of a user's account data. The caller wakes the user.
pub fn write(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str, content: &str) {
    db.execute(WRITE, &[user_nid.into(), room_nid.into(), data_type.into(), content.into()]);
}

/// The users whom a user ignores, by the content of `m.ignored_user_list`. Users cannot ignore themselves:
/// they would not see what they write. Client-Server API, "Ignoring Users".
pub fn ignored_users(content: &str, user_id: &str) -> HashSet<String> {
    let mut content: Map<String, Value> = serde_json::from_str(content).unwrap_or_default();
    let Some(Value::Object(users)) = content.remove("ignored_users") else { return HashSet::new() };
    users.into_iter().map(|(ignored, _)| ignored).filter(|ignored| ignored != user_id).collect()
}
