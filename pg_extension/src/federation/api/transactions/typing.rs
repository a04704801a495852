//! `m.typing`. Server-Server API, "Typing Notifications".

use std::collections::BTreeMap;

use matriarch_rules::Map;
use serde_json::Value;

use super::rooms::InboundRooms;
use crate::{
    base::spi::Db,
    federation::remote_users::{is_sound, user_of},
};

/// Servers repeat the EDU while a user types. If a server stops, its users count as not typing after this
/// time: twice the usual interval.
const TIMEOUT_MS: i64 = 60_000;

/// The newest state of each user of the origin in each room: whether the user is typing.
#[derive(Debug, Default)]
pub struct Typing(BTreeMap<(String, String), bool>);

/// Marks joined users as typing, in the order of the primary key.
const START: &str = "
    insert into typing (room_nid, user_nid, expires_at, typing)
    select m.room_nid, m.user_nid, now() + $3 * interval '1 millisecond', true
    from unnest($1::bigint[], $2::text[]) a (room_nid, user_id)
    cross join lateral (select user_nid from users where user_id = a.user_id offset 0) u
    cross join lateral (
        select room_nid, user_nid
        from memberships
        where room_nid = a.room_nid and user_nid = u.user_nid and membership = 'join'
        offset 0
    ) m
    order by m.room_nid, m.user_nid
    on conflict (room_nid, user_nid) do update
    set expires_at = excluded.expires_at,
        typing = true,
        xid = case when typing.typing then typing.xid else excluded.xid end
    returning room_nid, xid = pg_current_xact_id() as is_news";

const STOP: &str = "
    update typing t
    set typing = false, expires_at = now(), xid = pg_current_xact_id()
    from unnest($1::bigint[], $2::text[]) a (room_nid, user_id)
    cross join lateral (select user_nid from users where user_id = a.user_id offset 0) u
    where t.room_nid = a.room_nid and t.user_nid = u.user_nid and t.typing
    returning t.room_nid, true as is_news";

impl Typing {
    /// Reads the content of an EDU; `None` if it is ignored.
    pub fn add(&mut self, origin: &str, content: &Map) -> Option<()> {
        let room_id = content.get("room_id")?.as_str().filter(|room_id| is_sound(room_id))?;
        let user_id = user_of(origin, content.get("user_id"))?;
        let typing = content.get("typing").and_then(Value::as_bool)?;
        self.0.insert((room_id.to_owned(), user_id), typing);
        Some(())
    }

    pub fn room_ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|(room_id, _)| room_id.as_str())
    }

    /// Writes which users are typing. Returns the rooms where that changed.
    pub fn apply(self, db: &Db<'_>, rooms: &InboundRooms) -> Vec<i64> {
        let mut changed = Vec::new();
        for typing in [true, false] {
            let of_kind = self.0.iter().filter(|(_, is_typing)| **is_typing == typing);
            let (room_nids, user_ids): (Vec<i64>, Vec<&str>) = of_kind
                .filter_map(|((room_id, user_id), _)| Some((rooms.open(room_id)?, user_id.as_str())))
                .unzip();
            if room_nids.is_empty() {
                continue;
            }
            let rows = if typing {
                db.query(START, &[room_nids.into(), user_ids.into(), TIMEOUT_MS.into()])
            } else {
                db.query(STOP, &[room_nids.into(), user_ids.into()])
            };
            changed.extend(rows.filter(|row| row.get("is_news")).map(|row| row.get::<i64>("room_nid")));
        }
        changed
    }
}
