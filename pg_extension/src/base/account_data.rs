//! Account data as it is stored.

use std::collections::HashSet;

use serde_json::{Map, Value};

use crate::base::spi::Db;

/// The `room_nid` of global account data.
pub const GLOBAL: i64 = 0;

const READ: &str = "select content from account_data where user_nid = $1 and room_nid = $2 and type = $3";

/// The content of a user's account data of one type, as JSON text.
pub fn read(db: &Db<'_>, user_nid: i64, room_nid: i64, data_type: &str) -> Option<String> {
    db.query_opt(READ, &[user_nid.into(), room_nid.into(), data_type.into()]).map(|row| row.get("content"))
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
