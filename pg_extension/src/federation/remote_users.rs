//! Remote users, as their servers name them.

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::identifiers::server_name;
use serde_json::Value;

use crate::base::spi::Db;

/// The id of a user of the origin; `None` for other values, and for ids that SQL cannot hold.
pub fn user_of(origin: &str, value: Option<&Value>) -> Option<String> {
    let user_id = value?.as_str()?;
    (server_name(user_id) == Some(origin) && is_sound(user_id)).then(|| user_id.to_owned())
}

/// Whether the text can be an identifier.
pub fn is_sound(id: &str) -> bool {
    id.len() <= 255 && !id.contains('\0')
}

/// The users who are joined in some room, of these, with their nids.
pub fn joined_users(db: &Db<'_>, user_ids: &BTreeSet<&str>) -> BTreeMap<String, i64> {
    const JOINED: &str = "
        select u.user_id, u.user_nid
        from unnest($1::text[]) as wanted (user_id)
        cross join lateral (select user_id, user_nid from users where user_id = wanted.user_id offset 0) u
        where exists (select from memberships m where m.user_nid = u.user_nid and m.membership = 'join')";
    let user_ids: Vec<&str> = user_ids.iter().copied().collect();
    db.query(JOINED, &[user_ids.into()]).map(|row| (row.get("user_id"), row.get("user_nid"))).collect()
}
