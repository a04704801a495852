//! Finds which kinds of news there are, and in which rooms. Most syncs have no news of most kinds. So one
//! query checks for all kinds, in one walk through the asker's rooms, and a kind is read only where it has
//! news.

use super::{Asker, parts::Columns};
use crate::base::spi::Db;

/// The kinds of news that an asker may have. Some may turn out to be none, but no others exist.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    /// The rooms that the asker is joined to; empty for an initial sync.
    pub joined: Vec<i64>,
    /// Rooms with news in the timeline or the asker's membership; empty for an initial sync.
    pub news: Vec<i64>,
    /// The joined rooms with new receipts.
    pub receipts: Vec<i64>,
    /// The joined rooms in which the list of typing users changed.
    pub typing: Vec<i64>,
    /// Whether device keys or cross-signing keys of any user changed.
    pub key_changes: bool,
    /// Whether the asker joined or left rooms.
    pub own_changes: bool,
    pub account_data: bool,
    /// Whether there are out-of-band memberships.
    pub out_of_band: bool,
    /// Whether there are send-to-device messages.
    pub messages: bool,
    pub one_time_keys: bool,
    pub fallback_keys: bool,
    /// Whether the presence of any user changed.
    pub presence: bool,
}

/// A user who left and then forgot the room gets the leave, as another device may have left; nothing after
/// the leave is news. `offset 0` makes the planner use an index for each look-up.
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
        ) as out_of_band,
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
                        where event_nid = m.event_nid and xid <> m.xid
                            and not pg_visible_in_snapshot(xid, a.token)
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
            select room_nid, event_nid, xid, membership, forgotten,
                membership = 'join' and not forgotten as joined
            from memberships
            where user_nid = a.user_nid
            offset 0
        ) m
    ) m";

/// Checks for news of each asker, in their order. For an initial sync, every kind is read.
pub fn find(db: &Db<'_>, askers: &[&Asker], columns: &Columns) -> Vec<Probe> {
    let mut found: Vec<Probe> = askers
        .iter()
        .map(|asker| match asker.since {
            Some(_) => Probe::default(),
            None => Probe {
                account_data: true,
                out_of_band: true,
                messages: true,
                one_time_keys: true,
                fallback_keys: true,
                presence: asker.presence,
                ..Probe::default()
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
        found[row.get::<i64>("number") as usize] = Probe {
            joined: rooms("joined"),
            news: rooms("news"),
            receipts: rooms("receipts"),
            typing: rooms("typing"),
            key_changes: row.get("key_changes"),
            own_changes: row.get("own_changes"),
            account_data: row.get("account_data"),
            out_of_band: row.get("out_of_band"),
            messages: row.get("messages"),
            one_time_keys: row.get("one_time_keys"),
            fallback_keys: row.get("fallback_keys"),
            presence: row.get("presence"),
        };
    }
    found
}
