//! Held receipts: receipts of remote users that were received before their events or, in partial rooms,
//! before their users' member events.

use crate::base::spi::Db;

const APPLY: &str = "
    with found as (
        delete from held_receipts h
        using events e
        where h.room_nid = $1 and e.event_id = h.event_id and e.room_nid = h.room_nid and e.pos is not null
            and exists (
                select from memberships m
                where m.room_nid = h.room_nid and m.user_nid = h.user_nid and m.membership = 'join'
            )
        returning h.room_nid, h.user_nid, h.thread_id, e.event_nid, e.pos, h.ts
    )
    insert into receipts (room_nid, user_nid, receipt_type, thread_id, event_nid, pos, ts)
    select room_nid, user_nid, 'm.read', thread_id, event_nid, pos, ts
    from found
    order by room_nid, user_nid, thread_id
    on conflict (room_nid, user_nid, receipt_type, thread_id) do update
    set event_nid = excluded.event_nid, pos = excluded.pos, ts = excluded.ts, xid = excluded.xid
    where receipts.pos < excluded.pos";

/// Applies the held receipts of events and members that were stored since. The caller wakes the room.
pub fn apply(db: &Db<'_>, room_nid: i64) {
    db.execute(APPLY, &[room_nid.into()]);
}
