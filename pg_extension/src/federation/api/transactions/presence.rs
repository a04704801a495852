//! `m.presence`. Server-Server API, "Presence".

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::Map;
use serde_json::Value;

use crate::{
    base::spi::Db,
    client::presence::{MAX_STATUS_CHARS, RemotePresence, note_remote},
    federation::remote_users::{joined_users, user_of},
};

/// The number of users of one transaction. No server has to send more at a time.
const MAX_USERS: usize = 5000;

/// The largest `last_active_ago`, in milliseconds: ten years.
const MAX_AGO: i64 = 315_360_000_000;

/// The newest presence of each user of the origin.
#[derive(Debug, Default)]
pub struct Presence(BTreeMap<String, RemotePresence>);

impl Presence {
    /// Reads the content of an EDU; `None` if it is ignored.
    pub fn add(&mut self, origin: &str, content: &Map) -> Option<()> {
        for item in content.get("push")?.as_array()?.iter().filter_map(Value::as_object) {
            if let Some(user_id) = user_of(origin, item.get("user_id"))
                && let Some(presence) = read(item)
                && (self.0.len() < MAX_USERS || self.0.contains_key(&user_id))
            {
                self.0.insert(user_id, presence);
            }
        }
        Some(())
    }

    /// Writes the presence of users who share rooms with local users. Returns the rooms to wake.
    pub fn apply(mut self, db: &Db<'_>) -> Vec<i64> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let known = joined_users(db, &self.0.keys().map(String::as_str).collect::<BTreeSet<_>>());
        let users = known.into_iter().filter_map(|(user_id, nid)| Some((nid, self.0.remove(&user_id)?)));
        note_remote(db, &users.collect())
    }
}

fn read(item: &Map) -> Option<RemotePresence> {
    let presence = item.get("presence")?.as_str()?;
    if !matches!(presence, "online" | "unavailable" | "offline") {
        return None;
    }
    let status_msg = item.get("status_msg").and_then(Value::as_str);
    let is_sound = |status: &&str| {
        !status.is_empty() && !status.contains('\0') && status.chars().count() <= MAX_STATUS_CHARS
    };
    let is_active = item.get("currently_active").and_then(Value::as_bool).unwrap_or_default();
    Some(RemotePresence {
        presence: presence.to_owned(),
        status_msg: status_msg.filter(is_sound).map(str::to_owned),
        currently_active: is_active && presence == "online",
        last_active_ago: item
            .get("last_active_ago")
            .and_then(Value::as_i64)
            .unwrap_or_default()
            .clamp(0, MAX_AGO),
    })
}
