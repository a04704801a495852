//! Presence as clients and other servers get it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use matriarch_rules::json_text::object_text;
use serde_json::{Map, Value};

use crate::base::{
    session::Session,
    spi::{Db, Row, Rows},
};

/// A user, with their current presence.
#[derive(Debug, Clone)]
pub struct Subject {
    pub user_id: String,
    /// Without `user_id`.
    pub content: Map<String, Value>,
    /// `displayname` and `avatar_url`, which events have beside the content.
    profile: Map<String, Value>,
}

/// Reads the columns `user_id, presence, status_msg, currently_active`, and for how many
/// milliseconds the user has not been active.
fn read(row: &Row<'_>) -> Subject {
    let presence: String = row.get("presence");
    let mut content = Map::new();
    if presence == "online" {
        content.insert("currently_active".to_owned(), row.get::<bool>("currently_active").into());
    }
    if let Some(ago) = row.opt::<i64>("last_active_ago") {
        content.insert("last_active_ago".to_owned(), ago.max(0).into());
    }
    content.insert("presence".to_owned(), presence.into());
    if let Some(status_msg) = row.opt::<String>("status_msg") {
        content.insert("status_msg".to_owned(), status_msg.into());
    }
    Subject { user_id: row.get("user_id"), content, profile: Map::new() }
}

impl Subject {
    /// As an `m.presence` event.
    pub fn event(&self) -> String {
        object_text(|event| {
            event.object("content", |content| {
                for (key, value) in self.content.iter().chain(&self.profile) {
                    content.value(key, value);
                }
            });
            event.value("sender", &self.user_id).value("type", "m.presence");
        })
    }
}

const OF_USER: &str = "
    select u.user_id, coalesce(p.presence, 'offline') as presence, p.status_msg,
        coalesce(p.currently_active, false) as currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint as last_active_ago
    from users u
    left join presence p on p.user_nid = u.user_nid
    where u.user_id = $2 and (
        u.user_nid = $1
        or exists (
            select
            from memberships own
            join memberships m on m.room_nid = own.room_nid and m.user_nid = u.user_nid
                and m.membership = 'join'
            where own.user_nid = $1 and own.membership = 'join'
        )
    )";

/// The presence of a user as JSON text; `None` if the session's user may not see it.
pub fn of_user(db: &Db<'_>, session: &Session, user_id: &str) -> Option<String> {
    let row = db.query_opt(OF_USER, &[session.user_nid.into(), user_id.into()])?;
    Some(Value::Object(read(&row).content).to_string())
}

const OF_USERS: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint as last_active_ago, p.user_nid
    from unnest($1::bigint[]) as wanted (user_nid)
    cross join lateral (select * from presence where user_nid = wanted.user_nid offset 0) p
    cross join lateral (select user_id from users where user_nid = wanted.user_nid offset 0) u";

/// The presence of local users for other servers: items of `push` in `m.presence`, by `user_nid`.
pub fn pushed(db: &Db<'_>, user_nids: BTreeSet<i64>) -> HashMap<i64, Value> {
    let told = |row: Row<'_>| {
        let Subject { user_id, mut content, .. } = read(&row);
        content.entry("last_active_ago").or_insert(0.into());
        content.insert("user_id".to_owned(), user_id.into());
        (row.get("user_nid"), Value::Object(content))
    };
    let user_nids: Vec<i64> = user_nids.into_iter().collect();
    db.query(OF_USERS, &[user_nids.into()]).map(told).collect()
}

/// The askers whose news is read. The first two fields are columns of the same length.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `user_nid`s.
    pub askers: Vec<i64>,
    /// Snapshots; NULL for initial syncs.
    pub tokens: Vec<Option<String>>,
    /// The index of an asker, and a user who shares a room with the asker only since the token: their
    /// presence is news although it did not change.
    pub met: Vec<(usize, String)>,
}

/// Presence that changed since the tokens. Rows restored from a dump of another cluster may have an `xid`
/// that this one has not reached.
const CHANGED: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint as last_active_ago, a.number
    from (
        select number, user_nid, token::pg_snapshot as token
        from unnest($1::bigint[], $2::text[]) with ordinality a (user_nid, token, number)
        where token is not null
        offset 0
    ) a
    cross join lateral (
        select *
        from presence
        where xid >= pg_snapshot_xmin(a.token) and xid < pg_snapshot_xmax(pg_current_snapshot())
            and not pg_visible_in_snapshot(xid, a.token)
        offset 0
    ) p
    cross join lateral (select user_id from users where user_nid = p.user_nid offset 0) u
    where p.user_nid = a.user_nid or exists (
        select
        from memberships m
        join memberships own on own.room_nid = m.room_nid and own.user_nid = a.user_nid
            and own.membership = 'join'
        where m.user_nid = p.user_nid and m.membership = 'join'
    )";

/// For initial syncs. Clients take users without presence as offline.
const THERE: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint as last_active_ago, a.number
    from unnest($1::bigint[], $2::text[]) with ordinality a (user_nid, token, number)
    cross join lateral (select * from presence where presence <> 'offline' offset 0) p
    cross join lateral (select user_id from users where user_nid = p.user_nid offset 0) u
    where a.token is null and (
        p.user_nid = a.user_nid or exists (
            select
            from memberships m
            join memberships own on own.room_nid = m.room_nid and own.user_nid = a.user_nid
                and own.membership = 'join'
            where m.user_nid = p.user_nid and m.membership = 'join'
        )
    )";

const MET: &str = "
    select u.user_id, p.presence, p.status_msg, p.currently_active,
        (extract(epoch from now() - p.last_active_at) * 1000)::bigint as last_active_ago, a.number
    from unnest($1::bigint[], $2::text[]) a (number, user_id)
    cross join lateral (select user_nid, user_id from users where user_id = a.user_id offset 0) u
    cross join lateral (
        select * from presence where user_nid = u.user_nid and presence <> 'offline' offset 0
    ) p";

/// The profiles of local users; for remote users, names and avatars from one of the rooms that they are
/// joined to. JSON texts.
const PROFILES: &str = "
    select wanted.user_id, shown.displayname, shown.avatar_url
    from unnest($1::text[]) as wanted (user_id)
    cross join lateral (select user_nid from users where user_id = wanted.user_id offset 0) u
    left join accounts a using (user_nid)
    cross join lateral (
        select
            max(value) filter (where key = 'displayname') as displayname,
            max(value) filter (where key = 'avatar_url') as avatar_url
        from profiles
        where user_nid = u.user_nid and key in ('displayname', 'avatar_url') and a.user_nid is not null
        union all
        (
            select to_json(display_name)::text, to_json(avatar_url)::text
            from memberships
            where user_nid = u.user_nid and membership = 'join' and a.user_nid is null
            limit 1
        )
        offset 0
    ) shown";

/// The presence that is new to each asker, in their order, by user id. Usually this is one query without a
/// result.
pub fn news(db: &Db<'_>, wanted: Wanted) -> Vec<BTreeMap<String, Subject>> {
    let Wanted { askers, tokens, met } = wanted;
    let mut found = vec![BTreeMap::new(); askers.len()];
    let mut take = |rows: Rows<'_>| {
        for row in rows {
            let subject = read(&row);
            found[row.get::<i64>("number") as usize - 1].insert(subject.user_id.clone(), subject);
        }
    };
    if tokens.iter().any(Option::is_some) {
        take(db.query(CHANGED, &[askers.clone().into(), tokens.clone().into()]));
    }
    if tokens.iter().any(Option::is_none) {
        take(db.query(THERE, &[askers.into(), tokens.into()]));
    }
    let (numbers, users): (Vec<i64>, Vec<String>) =
        met.into_iter().map(|(asker, user_id)| (asker as i64 + 1, user_id)).unzip();
    if !users.is_empty() {
        take(db.query(MET, &[numbers.into(), users.into()]));
    }
    name(db, &mut found);
    found
}

/// Adds display names and avatars.
fn name(db: &Db<'_>, found: &mut [BTreeMap<String, Subject>]) {
    let users: BTreeSet<&String> = found.iter().flat_map(BTreeMap::keys).collect();
    if users.is_empty() {
        return;
    }
    let users: Vec<&str> = users.into_iter().map(String::as_str).collect();
    for row in db.query(PROFILES, &[users.into()]) {
        let user_id: String = row.get("user_id");
        let field = |key: &str| {
            let value: Value = serde_json::from_str(&row.opt::<String>(key)?).ok()?;
            Some((key.to_owned(), value))
        };
        let profile: Map<String, Value> =
            ["displayname", "avatar_url"].into_iter().filter_map(field).collect();
        for subject in found.iter_mut().filter_map(|users| users.get_mut(&user_id)) {
            subject.profile.extend(profile.clone());
        }
    }
}
