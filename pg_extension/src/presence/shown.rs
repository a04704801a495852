//! Presence as it is shown: to clients that ask or sync, and to other servers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::{
    json_text::object_text,
    session::Session,
    spi::{Db, Row},
};

/// A user, and their presence as others see it at this moment.
#[derive(Debug, Clone)]
pub struct Subject {
    pub user_id: String,
    /// Without `user_id`.
    pub content: Map<String, Value>,
}

/// Columns that [`read`] takes, from the first one on: `user_id, presence, status_msg, currently_active`, and for how many
/// milliseconds the user has not been active.
fn read(row: &Row<'_>) -> Subject {
    let presence: String = row.get(2);
    let mut content = Map::new();
    if presence == "online" {
        content.insert("currently_active".to_owned(), row.get::<bool>(4).into());
    }
    if let Some(ago) = row.opt::<i64>(5) {
        content.insert("last_active_ago".to_owned(), ago.max(0).into());
    }
    content.insert("presence".to_owned(), presence.into());
    if let Some(status_msg) = row.opt::<String>(3) {
        content.insert("status_msg".to_owned(), status_msg.into());
    }
    Subject { user_id: row.get(1), content }
}

impl Subject {
    /// As an `m.presence` event.
    pub fn event(&self) -> String {
        object_text(|event| {
            event.value("content", &self.content).value("sender", &self.user_id).value("type", "m.presence");
        })
    }
}

const OF_USER: &str = "
    select u.user_id, coalesce(p.presence, 'offline'), p.status_msg, coalesce(p.currently_active, false),
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint
    from users u
    left join presence p on p.user_nid = u.user_nid
    where u.user_id = $2 and (
        u.user_nid = $1
        or exists (
            select
            from memberships own
            join memberships m on m.room_nid = own.room_nid and m.user_nid = u.user_nid and m.membership = 'join'
            where own.user_nid = $1 and own.membership = 'join'
        )
    )";

/// The presence of a user as JSON text, if the asker may see it.
pub fn of_user(db: &Db<'_>, session: &Session, user_id: &str) -> Option<String> {
    let row = db.query_opt(OF_USER, &[session.user_nid.into(), user_id.into()])?;
    Some(Value::Object(read(&row).content).to_string())
}

const OF_USERS: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint, p.user_nid
    from unnest($1::bigint[]) as wanted (user_nid)
    cross join lateral (select * from presence where user_nid = wanted.user_nid offset 0) p
    cross join lateral (select user_id from users where user_nid = wanted.user_nid offset 0) u";

/// What other servers are told of users of this one: items of `push` in `m.presence`, by `user_nid`.
pub fn pushed(db: &Db<'_>, user_nids: BTreeSet<i64>) -> HashMap<i64, Value> {
    let told = |row: Row<'_>| {
        let Subject { user_id, mut content } = read(&row);
        content.entry("last_active_ago").or_insert(0.into());
        content.insert("user_id".to_owned(), user_id.into());
        (row.get(6), Value::Object(content))
    };
    let user_nids: Vec<i64> = user_nids.into_iter().collect();
    db.query(OF_USERS, &[user_nids.into()]).map(told).collect()
}

/// Who wants to know, as columns of one length.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `user_nid`s.
    pub askers: Vec<i64>,
    /// Snapshots; NULL for those who know nothing yet.
    pub tokens: Vec<Option<String>>,
    /// Ids of users whom the asker met since, as PostgreSQL's text form of `text[]`: their presence is news although it did
    /// not change.
    pub met: Vec<String>,
}

/// Whoever knows nothing of users takes them for offline.
const NEWS: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint, p.number
    from (
        select a.number, p.*
        from (
            select number, user_nid, token::pg_snapshot as token
            from unnest($1::bigint[], $2::text[]) with ordinality a (user_nid, token, number)
            where token is not null
            offset 0
        ) a
        cross join lateral (
            select *
            from presence
            where xid >= pg_snapshot_xmin(a.token) and not pg_visible_in_snapshot(xid, a.token)
            offset 0
        ) p
        where p.user_nid = a.user_nid or exists (
            select
            from memberships m
            join memberships own on own.room_nid = m.room_nid and own.user_nid = a.user_nid and own.membership = 'join'
            where m.user_nid = p.user_nid and m.membership = 'join'
        )
        union all
        select a.number, p.*
        from unnest($1::bigint[], $2::text[]) with ordinality a (user_nid, token, number)
        cross join lateral (select * from presence where presence <> 'offline' offset 0) p
        where a.token is null and (
            p.user_nid = a.user_nid or exists (
                select
                from memberships m
                join memberships own
                    on own.room_nid = m.room_nid and own.user_nid = a.user_nid and own.membership = 'join'
                where m.user_nid = p.user_nid and m.membership = 'join'
            )
        )
        union all
        select a.number, p.*
        from unnest($3::text[]) with ordinality a (met, number)
        cross join lateral unnest(a.met::text[]) as met (user_id)
        cross join lateral (select user_nid from users where user_id = met.user_id offset 0) m
        cross join lateral (
            select * from presence where user_nid = m.user_nid and presence <> 'offline' offset 0
        ) p
    ) p
    cross join lateral (select user_id from users where user_nid = p.user_nid offset 0) u";

/// What is new to each asker, in their order, by user id.
pub fn news(db: &Db<'_>, wanted: Wanted) -> Vec<BTreeMap<String, Subject>> {
    let mut found = vec![BTreeMap::new(); wanted.askers.len()];
    if found.is_empty() {
        return found;
    }
    for row in db.query(NEWS, &[wanted.askers.into(), wanted.tokens.into(), wanted.met.into()]) {
        let subject = read(&row);
        found[row.get::<i64>(6) as usize - 1].insert(subject.user_id.clone(), subject);
    }
    found
}
