//! Device lists: users whose devices changed, and users who began or ceased to share a room. Client-Server
//! API, "Tracking the device list for a user".
//!
//! Rooms count whether they are encrypted or not: clients decide which users they track.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use matriarch_rules::sync_token::SyncToken;
use pgrx::pg_extern;
use serde_json::json;

use crate::base::{
    response::{Response, ResponseRows, respond},
    session::Session,
    spi::{Db, Mode},
    token::{self, sync_token},
};

const NOTE: &str = "
    insert into device_list_changes (user_nid, device_id, audience)
    select * from unnest($1::bigint[], $2::text[], $3::bigint[])";

/// A change of a device or, without `device_id`, of cross-signing keys. It is news for all users who share a
/// room with the user, or only for the user `audience`.
pub struct Change<'c> {
    pub user_nid: i64,
    pub device_id: Option<&'c str>,
    pub audience: Option<i64>,
}

/// Stores changes.
pub fn note_changes<'c>(db: &Db<'_>, changes: impl Iterator<Item = Change<'c>>) {
    let (mut user_nids, mut device_ids, mut audiences) = (Vec::new(), Vec::new(), Vec::new());
    for Change { user_nid, device_id, audience } in changes {
        user_nids.push(user_nid);
        device_ids.push(device_id);
        audiences.push(audience);
    }
    if !user_nids.is_empty() {
        db.execute(NOTE, &[user_nids.into(), device_ids.into(), audiences.into()]);
    }
}

/// Stores a change for all users who share a room with the user.
pub fn note_change(db: &Db<'_>, user_nid: i64, device_id: Option<&str>) {
    note_changes(db, std::iter::once(Change { user_nid, device_id, audience: None }));
}

/// Stores a change of cross-signing keys for the user alone.
pub fn note_own_change(db: &Db<'_>, user_nid: i64) {
    note_changes(db, std::iter::once(Change { user_nid, device_id: None, audience: Some(user_nid) }));
}

const ROOMS: &str = "select room_nid from memberships where user_nid = $1 and membership = 'join'";

/// Makes a response wake all users who see a change: the user, and the rooms that they are joined to.
pub fn wake(db: &Db<'_>, mut response: Response, user_nid: i64) -> Response {
    response.wake_rooms.extend(db.query(ROOMS, &[user_nid.into()]).map(|row| row.get::<i64>("room_nid")));
    response.wake_user(user_nid)
}

/// The time between two tokens, for a user.
#[derive(Debug)]
pub struct Interval<'t> {
    pub user_nid: i64,
    pub from: &'t SyncToken,
    pub to: &'t SyncToken,
    /// Whether keys of any user may have changed.
    pub key_changes: bool,
    /// Whether the user may have joined or left rooms.
    pub own_changes: bool,
}

/// `device_lists`: user ids.
#[derive(Debug, Clone, Default)]
pub struct DeviceLists {
    /// Users whose devices or cross-signing keys changed, and users who share a room at the end but not at
    /// the start.
    pub changed: BTreeSet<String>,
    /// Users who share a room at the start but not at the end.
    pub left: BTreeSet<String>,
}

impl DeviceLists {
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.left.is_empty()
    }
}

/// Intervals, as columns of the same length.
struct Columns {
    users: Vec<i64>,
    from: Vec<String>,
    to: Vec<String>,
}

const KEY_CHANGES: &str = "
    select a.number, c.user_nid, bool_or(c.audience is not null) as has_audience
    from (
        select number, user_nid, from_token::pg_snapshot as from_token, to_token::pg_snapshot as to_token
        from unnest($1::bigint[], $2::text[], $3::text[])
            with ordinality a (user_nid, from_token, to_token, number)
        offset 0
    ) a
    cross join lateral (
        select user_nid, audience
        from device_list_changes
        where xid >= pg_snapshot_xmin(a.from_token)
            and not pg_visible_in_snapshot(xid, a.from_token)
            and pg_visible_in_snapshot(xid, a.to_token)
            and (audience is null or audience = a.user_nid)
        offset 0
    ) c
    group by a.number, c.user_nid";

const OWN_CHANGES: &str = "
    select a.number, c.room_nid, c.joined, pg_visible_in_snapshot(c.xid, a.to_token) as is_before_end
    from (
        select number, user_nid, from_token::pg_snapshot as from_token, to_token::pg_snapshot as to_token
        from unnest($1::bigint[], $2::text[], $3::text[])
            with ordinality a (user_nid, from_token, to_token, number)
        offset 0
    ) a
    cross join lateral (
        select *
        from membership_changes
        where user_nid = a.user_nid and xid >= pg_snapshot_xmin(a.from_token)
            and not pg_visible_in_snapshot(xid, a.from_token)
        offset 0
    ) c
    order by a.number, c.change_id";

/// Users who joined or left a room and, in rooms that the interval's user joined or left, all members.
const CANDIDATES: &str = "
    select a.number, c.user_nid
    from (
        select number, room_nid, from_token::pg_snapshot as from_token, all_members
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[])
            as a (number, room_nid, from_token, all_members)
        offset 0
    ) a
    cross join lateral (
        select user_nid
        from membership_changes
        where room_nid = a.room_nid and xid >= pg_snapshot_xmin(a.from_token)
            and not pg_visible_in_snapshot(xid, a.from_token)
        union all
        select user_nid from memberships where a.all_members and room_nid = a.room_nid and membership = 'join'
        offset 0
    ) c
    group by a.number, c.user_nid";

/// The rooms that users are joined to or left since the token, and the number of their members.
const ROOMS_SINCE: &str = "
    select a.number, r.room_nid, r.joined_members
    from (
        select number, user_nid, from_token::pg_snapshot as from_token
        from unnest($1::bigint[], $2::bigint[], $3::text[]) as a (number, user_nid, from_token)
        offset 0
    ) a
    cross join lateral (
        select room_nid from memberships where user_nid = a.user_nid and membership = 'join'
        union
        select room_nid
        from membership_changes
        where user_nid = a.user_nid and xid >= pg_snapshot_xmin(a.from_token)
            and not pg_visible_in_snapshot(xid, a.from_token)
        offset 0
    ) m
    cross join lateral (select room_nid, joined_members from rooms where room_nid = m.room_nid offset 0) r";

/// Whether two users shared a room at the start and at the end. Whether a user was joined at some time
/// follows from the first change after it or, if there is none, from the current membership.
const SHARED: &str = "
    select a.index, u.user_id, s.shared[1] as at_start, s.shared[2] as at_end
    from (
        select index, user_nid, other_nid,
            from_token::pg_snapshot as from_token, to_token::pg_snapshot as to_token
        from unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) with ordinality
            a (user_nid, other_nid, from_token, to_token, index)
        offset 0
    ) a
    cross join lateral (select user_id from users where user_nid = a.other_nid offset 0) u
    cross join lateral (
        select array(
            select exists (
                select
                from (
                    select room_nid from memberships where user_nid = a.other_nid and membership = 'join'
                    union
                    select room_nid
                    from membership_changes
                    where user_nid = a.other_nid and xid >= pg_snapshot_xmin(t.token)
                        and not pg_visible_in_snapshot(xid, t.token)
                ) r
                cross join lateral (
                    select user_nid, membership = 'join' as joined
                    from memberships
                    where room_nid = r.room_nid and user_nid in (a.user_nid, a.other_nid)
                    offset 0
                ) m
                left join lateral (
                    select not joined as joined
                    from membership_changes
                    where user_nid = m.user_nid and room_nid = r.room_nid and xid >= pg_snapshot_xmin(t.token)
                        and not pg_visible_in_snapshot(xid, t.token)
                    order by change_id
                    limit 1
                ) c on true
                where coalesce(c.joined, m.joined)
                group by r.room_nid
                having count(*) = 2
            )
            from unnest(array[a.from_token, a.to_token]) with ordinality t (token, number)
            order by t.number
        ) as shared
        offset 0
    ) s";

/// Up to this many users are checked one by one. Each check costs as much as reading 30 members of a room
/// together.
const FEW: usize = 100;
const MEMBERS_FOR_ONE: usize = 30;

/// The device lists for intervals, in their order. `news` are the rooms that had news, with the index of the
/// interval: the members of other rooms did not change.
pub fn between(db: &Db<'_>, intervals: &[Interval<'_>], news: &BTreeSet<(usize, i64)>) -> Vec<DeviceLists> {
    let mut lists = vec![DeviceLists::default(); intervals.len()];
    if intervals.is_empty() {
        return lists;
    }
    let columns = Columns {
        users: intervals.iter().map(|interval| interval.user_nid).collect(),
        from: intervals.iter().map(|interval| interval.from.snapshot()).collect(),
        to: intervals.iter().map(|interval| interval.to.snapshot()).collect(),
    };
    // By interval and user: whether the change is news even if the users share no room.
    let mut changed: BTreeMap<(usize, i64), bool> = BTreeMap::new();
    if intervals.iter().any(|interval| interval.key_changes) {
        for row in db.query(KEY_CHANGES, &columns.args()) {
            let (index, user_nid) = (row.get::<i64>("number") as usize - 1, row.get("user_nid"));
            changed.insert(
                (index, user_nid),
                row.get::<bool>("has_audience") || user_nid == columns.users[index],
            );
        }
    }
    columns.forget_strangers(db, &mut changed);
    let own_changes = intervals.iter().any(|interval| interval.own_changes);
    let others = columns.candidates(db, news, own_changes);
    let pairs: Vec<(usize, i64)> =
        changed.keys().chain(&others).copied().collect::<BTreeSet<_>>().into_iter().collect();
    if pairs.is_empty() {
        return lists;
    }
    let args = [
        pairs.iter().map(|(index, _)| columns.users[*index]).collect::<Vec<_>>().into(),
        pairs.iter().map(|(_, other)| *other).collect::<Vec<_>>().into(),
        pairs.iter().map(|(index, _)| columns.from[*index].as_str()).collect::<Vec<_>>().into(),
        pairs.iter().map(|(index, _)| columns.to[*index].as_str()).collect::<Vec<_>>().into(),
    ];
    for row in db.query(SHARED, &args) {
        let pair = pairs[row.get::<i64>("index") as usize - 1];
        let (user_id, at_start, at_end): (String, bool, bool) =
            (row.get("user_id"), row.get("at_start"), row.get("at_end"));
        let is_self = pair.1 == columns.users[pair.0];
        let has_changed = changed.get(&pair).is_some_and(|always| *always || at_end);
        if has_changed || (at_end && !at_start && !is_self) {
            lists[pair.0].changed.insert(user_id);
        } else if at_start && !at_end && !is_self {
            lists[pair.0].left.insert(user_id);
        }
    }
    lists
}

impl Columns {
    fn args(&self) -> [pgrx::datum::DatumWithOid<'static>; 3] {
        [self.users.clone().into(), self.from.clone().into(), self.to.clone().into()]
    }

    /// For intervals with many changed users, removes those who shared no room with the interval's user, if
    /// reading the members of the rooms is cheaper than checking the users one by one.
    fn forget_strangers(&self, db: &Db<'_>, changed: &mut BTreeMap<(usize, i64), bool>) {
        let of_interval = |index: usize| (index, i64::MIN)..=(index, i64::MAX);
        let mut many: BTreeMap<usize, usize> = (0..self.users.len())
            .map(|index| (index, changed.range(of_interval(index)).count()))
            .filter(|(_, count)| *count > FEW)
            .collect();
        if many.is_empty() {
            return;
        }
        let args = [
            many.keys().map(|index| *index as i64).collect::<Vec<_>>().into(),
            many.keys().map(|index| self.users[*index]).collect::<Vec<_>>().into(),
            many.keys().map(|index| self.from[*index].as_str()).collect::<Vec<_>>().into(),
        ];
        let rooms: Vec<(usize, i64, usize)> = db
            .query(ROOMS_SINCE, &args)
            .map(|row| {
                (
                    row.get::<i64>("number") as usize,
                    row.get("room_nid"),
                    row.get::<i32>("joined_members").max(0) as usize,
                )
            })
            .collect();
        many.retain(|index, count| {
            let members: usize = rooms.iter().filter(|room| room.0 == *index).map(|room| room.2).sum();
            members < *count * MEMBERS_FOR_ONE
        });
        let rooms: Vec<_> = rooms.into_iter().filter(|(index, ..)| many.contains_key(index)).collect();
        let args = [
            rooms.iter().map(|(index, ..)| *index as i64).collect::<Vec<_>>().into(),
            rooms.iter().map(|(_, room_nid, _)| *room_nid).collect::<Vec<_>>().into(),
            rooms.iter().map(|(index, ..)| self.from[*index].as_str()).collect::<Vec<_>>().into(),
            vec![true; rooms.len()].into(),
        ];
        let known: HashSet<(usize, i64)> = db
            .query(CANDIDATES, &args)
            .map(|row| (row.get::<i64>("number") as usize, row.get("user_nid")))
            .collect();
        changed.retain(|place, always| *always || !many.contains_key(&place.0) || known.contains(place));
    }

    /// Users who may have begun or ceased to share a room with the interval's user, by interval.
    /// `own_changes` says whether those users may have joined or left rooms themselves.
    fn candidates(
        &self,
        db: &Db<'_>,
        news: &BTreeSet<(usize, i64)>,
        own_changes: bool,
    ) -> BTreeSet<(usize, i64)> {
        // Whether the user was joined to a room at the start, and at the end.
        let mut own: BTreeMap<(usize, i64), (bool, bool)> = BTreeMap::new();
        for row in own_changes.then(|| db.query(OWN_CHANGES, &self.args())).into_iter().flatten() {
            let (index, joined) = (row.get::<i64>("number") as usize - 1, row.get::<bool>("joined"));
            let (_, at_end) = own.entry((index, row.get("room_nid"))).or_insert((!joined, !joined));
            if row.get("is_before_end") {
                *at_end = joined;
            }
        }
        let all_members = |place: &(usize, i64)| own.get(place).is_some_and(|(start, end)| start != end);
        let places: BTreeSet<(usize, i64)> = news.iter().chain(own.keys()).copied().collect();
        if places.is_empty() {
            return BTreeSet::new();
        }
        let args = [
            places.iter().map(|(index, _)| *index as i64).collect::<Vec<_>>().into(),
            places.iter().map(|(_, room_nid)| *room_nid).collect::<Vec<_>>().into(),
            places.iter().map(|(index, _)| self.from[*index].as_str()).collect::<Vec<_>>().into(),
            places.iter().map(all_members).collect::<Vec<bool>>().into(),
        ];
        let candidates =
            db.query(CANDIDATES, &args).map(|row| (row.get::<i64>("number") as usize, row.get("user_nid")));
        candidates.filter(|(index, user_nid)| *user_nid != self.users[*index]).collect()
    }
}

const ROOMS_WITH_NEWS: &str = "
    select m.room_nid
    from (select room_nid from memberships where user_nid = $1 and membership = 'join' offset 0) m
    join rooms r on r.room_nid = m.room_nid
    where not pg_visible_in_snapshot(r.xid, $2::pg_snapshot)";

/// `GET /keys/changes`
#[pg_extern(stable)]
fn key_changes(token_hash: &[u8], from: &str, to: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let now = token::now(db);
        let (from, to) = (sync_token(db, "from", from, &now)?, sync_token(db, "to", to, &now)?);
        let rooms = db.query(ROOMS_WITH_NEWS, &[session.user_nid.into(), from.snapshot().into()]);
        let news = rooms.map(|row| (0, row.get("room_nid"))).collect();
        let user_nid = session.user_nid;
        let interval = Interval { user_nid, from: &from, to: &to, key_changes: true, own_changes: true };
        let lists = between(db, &[interval], &news).pop().unwrap_or_default();
        Ok(Response::json(&json!({ "changed": lists.changed, "left": lists.left })))
    })
}
