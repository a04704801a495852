//! Account data, global and of rooms. Client-Server API, "Client Config".

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use matriarch_rules::json_text::object_text;

use super::parts::Columns;
use crate::{
    base::{account_data::ignored_users, spi::Db},
    room::pending_invites,
};

/// The type of account data, and its content as JSON text.
pub type Datum = (String, String);

/// In the place of a `room_nid`: global account data.
pub const GLOBAL: i64 = 0;

const NEW: &str = "
    select a.number, d.room_nid, d.type, d.content
    from (
        select number, user_nid, token::pg_snapshot as token
        from unnest($1::bigint[], $2::text[]) with ordinality a (user_nid, token, number)
        offset 0
    ) a
    cross join lateral (
        select *
        from account_data
        where user_nid = a.user_nid and xid >= coalesce(pg_snapshot_xmin(a.token), '0'::xid8)
            and (a.token is null or not pg_visible_in_snapshot(xid, a.token))
        offset 0
    ) d";

/// The account data that is new for each asker, by the asker's index and the room ([`GLOBAL`] for global
/// data).
pub fn changed(db: &Db<'_>, columns: &Columns) -> BTreeMap<(usize, i64), Vec<Datum>> {
    let mut data: BTreeMap<_, Vec<Datum>> = BTreeMap::new();
    for row in db.query(NEW, &[columns.users.clone().into(), columns.tokens.clone().into()]) {
        let place = (row.get::<i64>("number") as usize - 1, row.get("room_nid"));
        data.entry(place).or_default().push((row.get("type"), row.get("content")));
    }
    data
}

const OF_ROOMS: &str = "
    select w.number, d.type, d.content
    from unnest($1::bigint[], $2::bigint[]) with ordinality w (user_nid, room_nid, number)
    cross join lateral (
        select type, content
        from account_data
        where user_nid = w.user_nid and room_nid = w.room_nid
        offset 0
    ) d";

/// All account data of rooms, for pairs of a user and a room, in their order.
pub fn of_rooms(db: &Db<'_>, pairs: &[(i64, i64)]) -> Vec<Vec<Datum>> {
    let mut data = vec![Vec::new(); pairs.len()];
    if pairs.is_empty() {
        return data;
    }
    let (users, rooms): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
    for row in db.query(OF_ROOMS, &[users.into(), rooms.into()]) {
        data[row.get::<i64>("number") as usize - 1].push((row.get("type"), row.get("content")));
    }
    data
}

/// Account data as an event.
pub fn event((data_type, content): &Datum) -> String {
    object_text(|event| {
        event.raw("content", content).value("type", data_type);
    })
}

const PERMISSIONS: &str = "
    select user_nid, content from account_data
    where user_nid = any($1) and room_nid = 0 and type = 'm.invite_permission_config'";

/// Those of the users who block invites. Client-Server API, "Invite permission".
pub fn blocking_invites(db: &Db<'_>, users: Vec<i64>) -> HashSet<i64> {
    db.query(PERMISSIONS, &[users.into()])
        .filter(|row| pending_invites::is_blocked(row.opt::<String>("content").as_deref()))
        .map(|row| row.get("user_nid"))
        .collect()
}

const IGNORED: &str = "
    select a.user_nid, u.user_id, a.content
    from account_data a
    join users u on u.user_nid = a.user_nid
    where a.user_nid = any($1) and a.room_nid = 0 and a.type = 'm.ignored_user_list'";

/// For each user, by `user_nid`, the users whom they ignore.
pub type Ignored = HashMap<i64, Rc<HashSet<String>>>;

/// The users whom each of these users ignores.
pub fn ignored(db: &Db<'_>, users: Vec<i64>) -> Ignored {
    db.query(IGNORED, &[users.into()])
        .map(|row| {
            let (content, user_id): (String, String) = (row.get("content"), row.get("user_id"));
            (row.get("user_nid"), Rc::new(ignored_users(&content, &user_id)))
        })
        .collect()
}
