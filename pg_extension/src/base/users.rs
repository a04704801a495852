//! Numbers (nids) of users.

use std::collections::HashMap;

use crate::base::spi::Db;

/// A local or remote user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub nid: i64,
    pub id: String,
}

const FIND: &str = "select user_nid, user_id from users where user_id = any($1)";

const INTERN: &str = "
    insert into users (user_id) select * from unnest($1)
    on conflict (user_id) do update set user_id = excluded.user_id
    returning user_nid, user_id";

/// The `user_nid` of each of these users. Unknown users are added in the order of their ids, so that two
/// transactions that add the same users cannot deadlock.
pub fn intern(db: &Db<'_>, user_ids: &[&str]) -> HashMap<String, i64> {
    let by_id = |sql, user_ids: &[&str]| -> HashMap<String, i64> {
        db.query(sql, &[user_ids.to_vec().into()])
            .map(|row| (row.get("user_id"), row.get("user_nid")))
            .collect()
    };
    let mut known = by_id(FIND, user_ids);
    let mut unknown: Vec<&str> = user_ids.iter().copied().filter(|id| !known.contains_key(*id)).collect();
    if !unknown.is_empty() {
        unknown.sort_unstable();
        unknown.dedup();
        known.extend(by_id(INTERN, &unknown));
    }
    known
}
