//! Finds the rooms that an answer includes.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{Asker, probe::Probe};
use crate::base::spi::{Db, Row};

/// A row of `rooms`, shared by all askers.
pub struct RoomRow {
    pub room_nid: i64,
    pub room_id: String,
    pub current_root: i64,
    pub last_pos: i64,
    pub notify_seq: i64,
    pub joined_members: i32,
    pub invited_members: i32,
    /// Whether the room has gaps.
    pub has_gaps: bool,
    /// Whether users were erased who were in the room.
    pub has_erasures: bool,
    /// Whether the room is partial.
    pub partial: bool,
}

/// A room with the asker's membership in it.
pub struct Part {
    pub room: Rc<RoomRow>,
    pub membership: String,
    /// The nid of the asker's member event.
    pub member_event_nid: i64,
    /// The sender of the member event.
    pub member_sender: String,
    /// Whether the membership is newer than the token.
    pub member_new: bool,
    /// Whether the room has events that are newer than the token.
    pub room_new: bool,
    /// Whether the room was partial when the token was made.
    pub was_partial: bool,
    /// Whether the asker forgot the room after leaving it.
    pub forgotten: bool,
}

impl Part {
    /// Whether the room is in the section `leave`.
    pub fn is_left(&self) -> bool {
        matches!(&*self.membership, "leave" | "ban")
    }

    pub fn is_joined(&self) -> bool {
        self.membership == "join"
    }
}

/// Parts by the index of the asker and `room_nid`.
pub type Parts = BTreeMap<(usize, i64), Part>;

/// The askers as arrays for SQL, all of the same length.
pub struct Columns {
    pub users: Vec<i64>,
    /// Snapshots; NULL for initial syncs.
    pub tokens: Vec<Option<String>>,
    pub devices: Vec<i64>,
    /// The `message_id` of the tokens.
    pub message_ids: Vec<Option<i64>>,
    /// Whether rooms without news are included.
    pub full: Vec<bool>,
    /// Whether all left rooms are included.
    pub left: Vec<bool>,
}

impl Columns {
    pub fn of(askers: &[&Asker]) -> Self {
        Self {
            users: askers.iter().map(|asker| asker.session.user_nid).collect(),
            tokens: askers.iter().map(|asker| asker.since.as_ref().map(|since| since.snapshot())).collect(),
            devices: askers.iter().map(|asker| asker.session.device_nid).collect(),
            message_ids: askers.iter().map(|asker| asker.since.as_ref()?.message_id).collect(),
            full: askers.iter().map(|asker| asker.since.is_none() || asker.full_state).collect(),
            left: askers
                .iter()
                .map(|asker| asker.since.is_none() && asker.filter.room.include_leave)
                .collect(),
        }
    }

    /// The devices of some askers, by their indexes.
    pub fn devices_of(&self, askers: &[usize]) -> Vec<i64> {
        askers.iter().map(|&asker| self.devices[asker]).collect()
    }
}

/// `offset 0` keeps the order of the joins: from the asker to the memberships, and from there to new rows. A
/// user who left and then forgot the room gets the leave, as another device may have left; nothing after the
/// leave is news.
const CHANGED: &str = "
    select a.number, m.membership, m.event_nid, s.user_id as sender,
        a.token is null or not pg_visible_in_snapshot(m.xid, a.token) as member_new,
        a.token is null or not pg_visible_in_snapshot(r.xid, a.token) as room_new,
        r.room_nid, r.room_id, r.current_root, r.last_pos, r.notify_seq, r.joined_members, r.invited_members,
        m.forgotten, exists (select from missing_prev_events where room_nid = r.room_nid) as has_gaps,
        exists (select from erasures where room_nid = r.room_nid) as has_erasures, r.partial,
        coalesce(not pg_visible_in_snapshot(r.whole_xid, a.token), false) as was_partial
    from (
        select number, user_nid, token::pg_snapshot as token, everything, left_too
        from unnest($1::bigint[], $2::text[], $3::boolean[], $4::boolean[])
            with ordinality a (user_nid, token, everything, left_too, number)
        offset 0
    ) a
    cross join lateral (
        select *
        from memberships
        where user_nid = a.user_nid
            and (
                membership = 'join'
                or (membership in ('invite', 'knock') and a.everything)
                or (membership in ('leave', 'ban') and a.left_too and not forgotten)
                or (a.token is not null and not pg_visible_in_snapshot(xid, a.token))
            )
            and (
                not forgotten
                or exists (
                    select
                    from events e
                    where e.event_nid = memberships.event_nid and e.xid <> memberships.xid
                        and not pg_visible_in_snapshot(e.xid, a.token)
                )
            )
        offset 0
    ) m
    join rooms r on r.room_nid = m.room_nid
    join users s on s.user_nid = m.sender_nid
    where m.membership <> 'join' or a.everything or not pg_visible_in_snapshot(r.xid, a.token)";

/// The rooms with news in the timeline or the asker's membership, and all rooms of askers that get full
/// state.
pub fn changed(db: &Db<'_>, columns: &Columns, found: &[Probe]) -> Parts {
    let (full, others): (Vec<usize>, Vec<usize>) = (0..found.len()).partition(|&asker| columns.full[asker]);
    let mut parts = if full.is_empty() { Parts::new() } else { all(db, columns, &full) };
    let news = others.into_iter().flat_map(|asker| found[asker].news.iter().map(move |room| (asker, *room)));
    parts.extend(of_places(db, columns, &news.collect::<Vec<_>>()));
    parts
}

fn all(db: &Db<'_>, columns: &Columns, askers: &[usize]) -> Parts {
    let args = [
        askers.iter().map(|&asker| columns.users[asker]).collect::<Vec<_>>().into(),
        askers.iter().map(|&asker| columns.tokens[asker].clone()).collect::<Vec<_>>().into(),
        askers.iter().map(|&asker| columns.full[asker]).collect::<Vec<_>>().into(),
        askers.iter().map(|&asker| columns.left[asker]).collect::<Vec<_>>().into(),
    ];
    let mut rooms = HashMap::new();
    let rows = db.query(CHANGED, &args).map(|row| read(&row, &mut rooms));
    rows.map(|((number, room_nid), part)| ((askers[number], room_nid), part)).collect()
}

const ADDED: &str = "
    select a.number, m.membership, m.event_nid, s.user_id as sender,
        coalesce(not pg_visible_in_snapshot(m.xid, a.token), true) as member_new,
        coalesce(not pg_visible_in_snapshot(r.xid, a.token), true) as room_new,
        r.room_nid, r.room_id, r.current_root, r.last_pos, r.notify_seq, r.joined_members, r.invited_members,
        m.forgotten, exists (select from missing_prev_events where room_nid = r.room_nid) as has_gaps,
        exists (select from erasures where room_nid = r.room_nid) as has_erasures, r.partial,
        coalesce(not pg_visible_in_snapshot(r.whole_xid, a.token), false) as was_partial
    from (
        select number, room_nid, user_nid, token::pg_snapshot as token
        from unnest($1::bigint[], $2::bigint[], $3::text[])
            with ordinality a (room_nid, user_nid, token, number)
        offset 0
    ) a
    cross join lateral (
        select *
        from memberships
        where room_nid = a.room_nid and user_nid = a.user_nid
        offset 0
    ) m
    join rooms r on r.room_nid = m.room_nid
    join users s on s.user_nid = m.sender_nid";

/// Adds rooms with news outside of the timeline, if the asker is joined to them.
pub fn add(db: &Db<'_>, columns: &Columns, parts: &mut Parts, places: impl Iterator<Item = (usize, i64)>) {
    let missing: Vec<(usize, i64)> = places.filter(|place| !parts.contains_key(place)).collect();
    let joined = of_places(db, columns, &missing).into_iter();
    parts.extend(joined.filter(|(_, part)| part.is_joined() && !part.forgotten));
}

/// The parts for pairs of an asker and a room. Leaves out rooms in which the asker never had a membership.
fn of_places(db: &Db<'_>, columns: &Columns, places: &[(usize, i64)]) -> Parts {
    if places.is_empty() {
        return Parts::new();
    }
    let args = [
        places.iter().map(|(_, room_nid)| *room_nid).collect::<Vec<_>>().into(),
        places.iter().map(|(asker, _)| columns.users[*asker]).collect::<Vec<_>>().into(),
        places.iter().map(|(asker, _)| columns.tokens[*asker].clone()).collect::<Vec<_>>().into(),
    ];
    let mut rooms = HashMap::new();
    let rows = db.query(ADDED, &args).map(|row| read(&row, &mut rooms));
    rows.map(|((number, room_nid), part)| ((places[number].0, room_nid), part)).collect()
}

/// Reads a row. Its number counts from 1, the returned index from 0.
fn read(row: &Row<'_>, rooms: &mut HashMap<i64, Rc<RoomRow>>) -> ((usize, i64), Part) {
    let number: i64 = row.get("number");
    let room_nid = row.get("room_nid");
    let room = rooms.entry(room_nid).or_insert_with(|| {
        Rc::new(RoomRow {
            room_nid,
            room_id: row.get("room_id"),
            current_root: row.get("current_root"),
            last_pos: row.get("last_pos"),
            notify_seq: row.get("notify_seq"),
            joined_members: row.get("joined_members"),
            invited_members: row.get("invited_members"),
            has_gaps: row.get("has_gaps"),
            has_erasures: row.get("has_erasures"),
            partial: row.get("partial"),
        })
    });
    let part = Part {
        room: Rc::clone(room),
        membership: row.get("membership"),
        member_event_nid: row.get("event_nid"),
        member_sender: row.get("sender"),
        member_new: row.get("member_new"),
        room_new: row.get("room_new"),
        forgotten: row.get("forgotten"),
        was_partial: row.get("was_partial"),
    };
    ((number as usize - 1, room_nid), part)
}

const JOINED: &str = "
    select a.number, m.room_nid
    from unnest($1::bigint[]) with ordinality a (user_nid, number)
    cross join lateral (
        select room_nid
        from memberships
        where user_nid = a.user_nid and membership = 'join' and not forgotten
        offset 0
    ) m";

/// The rooms that each of the users is joined to, in their order.
pub fn joined(db: &Db<'_>, users: Vec<i64>) -> Vec<Vec<i64>> {
    let mut rooms = vec![Vec::new(); users.len()];
    for row in db.query(JOINED, &[users.into()]) {
        let number: i64 = row.get("number");
        rooms[number as usize - 1].push(row.get("room_nid"));
    }
    rooms
}
