//! Where there is news, and of which kind. Most syncs find nothing of most kinds, so all of them are asked for at once, in one walk
//! through the asker's rooms, and each kind is read only where there is some of it.

use super::{Asker, parts::Columns};
use crate::base::spi::Db;

/// What an asker's answer may have. It may turn out to be nothing, but there is nothing else.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The rooms that the asker is in; of those who have a token.
    pub joined: Vec<i64>,
    /// Rooms with news in their timelines or the asker's membership; of those who have a token.
    pub news: Vec<i64>,
    /// Of those joined, the ones with new receipts.
    pub receipts: Vec<i64>,
    /// Of those joined, the ones where the list of who types changed.
    pub typing: Vec<i64>,
    /// Devices or cross-signing keys, of anybody, that changed.
    pub key_changes: bool,
    /// Rooms that the asker came into or went out of.
    pub own_changes: bool,
    pub account_data: bool,
    /// Rooms that no user of this server is in.
    pub outside: bool,
    /// Messages to the device.
    pub messages: bool,
    pub one_time_keys: bool,
    pub fallback_keys: bool,
    /// Presence, of anybody, that changed.
    pub presence: bool,
}

/// Who left and then forgot the room is told that they left, as another device may have done it; what came after that is no news.
/// `offset 0` keeps each look-up one by an index.
const PROBE: &str = "
    select a.number, m.joined, m.news, m.receipts, m.typing,
        exists (
            select
            from device_list_changes
            where xid >= pg_snapshot_xmin(a.token) and not pg_visible_in_snapshot(xid, a.token)
                and (audience is null or audience = a.user_nid)
            offset 0
        ) as key_changes,
        exists (
            select
            from membership_changes
            where user_nid = a.user_nid and xid >= pg_snapshot_xmin(a.token)
                and not pg_visible_in_snapshot(xid, a.token)
            offset 0
        ) as own_changes,
        exists (
            select
            from account_data
            where user_nid = a.user_nid and xid >= pg_snapshot_xmin(a.token)
                and not pg_visible_in_snapshot(xid, a.token)
            offset 0
        ) as account_data,
        exists (
            select
            from out_of_band_memberships
            where user_nid = a.user_nid and (a.everything or not pg_visible_in_snapshot(xid, a.token))
            offset 0
        ) as outside,
        exists (select from to_device_messages where device_nid = a.device_nid offset 0) as messages,
        exists (select from one_time_keys where device_nid = a.device_nid offset 0) as one_time_keys,
        exists (select from fallback_keys where device_nid = a.device_nid offset 0) as fallback_keys,
        a.presence and exists (
            select
            from presence
            where xid >= pg_snapshot_xmin(a.token) and xid < pg_snapshot_xmax(pg_current_snapshot())
                and not pg_visible_in_snapshot(xid, a.token)
            offset 0
        ) as presence
    from (
        select number, user_nid, device_nid, token::pg_snapshot as token, everything, presence
        from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::boolean[], $6::boolean[])
            as a (number, user_nid, device_nid, token, everything, presence)
        offset 0
    ) a
    cross join lateral (
        select array_agg(m.room_nid) filter (where m.joined) as joined,
            array_agg(m.room_nid) filter (
                where case
                    when m.membership = 'join' then exists (
                        select
                        from rooms
                        where room_nid = m.room_nid and not pg_visible_in_snapshot(xid, a.token)
                        offset 0
                    )
                    else not pg_visible_in_snapshot(m.xid, a.token)
                end and (
                    not m.forgotten or exists (
                        select
                        from events
                        where event_nid = m.event_nid and xid <> m.xid and not pg_visible_in_snapshot(xid, a.token)
                        offset 0
                    )
                )
            ) as news,
            array_agg(m.room_nid) filter (
                where m.joined and exists (
                    select
                    from receipts
                    where room_nid = m.room_nid and xid >= pg_snapshot_xmin(a.token)
                        and not pg_visible_in_snapshot(xid, a.token)
                        and (receipt_type = 'm.read' or user_nid = a.user_nid)
                    offset 0
                )
            ) as receipts,
            array_agg(m.room_nid) filter (
                where m.joined and exists (
                    select
                    from typing
                    where room_nid = m.room_nid and not pg_visible_in_snapshot(xid, a.token)
                    offset 0
                )
            ) as typing
        from (
            select room_nid, event_nid, xid, membership, forgotten, membership = 'join' and not forgotten as joined
            from memberships
            where user_nid = a.user_nid
            offset 0
        ) m
    ) m";

/// Finds it for each asker, in their order. Of an asker who has no token nothing is known yet.
pub fn find(db: &Db<'_>, askers: &[&Asker], columns: &Columns) -> Vec<Found> {
    let mut found: Vec<Found> = askers
        .iter()
        .map(|asker| match asker.since {
            Some(_) => Found::default(),
            None => Found {
                account_data: true,
                outside: true,
                messages: true,
                one_time_keys: true,
                fallback_keys: true,
                presence: asker.presence,
                ..Found::default()
            },
        })
        .collect();
    let known: Vec<usize> = (0..askers.len()).filter(|&index| askers[index].since.is_some()).collect();
    if known.is_empty() {
        return found;
    }
    macro_rules! column {
        ($index:ident => $value:expr) => {
            known.iter().map(|&$index| $value).collect::<Vec<_>>().into()
        };
    }
    let args = [
        column!(index => index as i64),
        column!(index => columns.users[index]),
        column!(index => columns.devices[index]),
        column!(index => columns.tokens[index].clone()),
        column!(index => columns.full[index]),
        column!(index => askers[index].presence),
    ];
    for row in db.query(PROBE, &args) {
        let rooms = |column: &str| row.opt::<Vec<i64>>(column).unwrap_or_default();
        found[row.get::<i64>("number") as usize] = Found {
            joined: rooms("joined"),
            news: rooms("news"),
            receipts: rooms("receipts"),
            typing: rooms("typing"),
            key_changes: row.get("key_changes"),
            own_changes: row.get("own_changes"),
            account_data: row.get("account_data"),
            outside: row.get("outside"),
            messages: row.get("messages"),
            one_time_keys: row.get("one_time_keys"),
            fallback_keys: row.get("fallback_keys"),
            presence: row.get("presence"),
        };
    }
    found
}
