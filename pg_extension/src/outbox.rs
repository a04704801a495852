//! What other servers are to be sent. Server-Server API, "Transactions".
//!
//! An event of this server is marked as outgoing when others are in the room, and the rooms of those servers as pending, both
//! in the transaction that appends it. A node then claims a server, makes a transaction of what waits for it, and sends
//! it; see `transactions.rs`.

pub mod edus;

use crate::base::spi::Db;

/// Among the users to be woken, stands for whoever sends transactions: they have work.
pub const SENDERS: i64 = 0;

/// Rows that are pending are not looked at: a server that is away costs nothing, whatever is written.
const MARK: &str = "
    with unmarked as (
        select r.destination_nid, r.room_nid
        from unnest($1) as room (room_nid)
        cross join lateral (
            select destination_nid, room_nid
            from destination_rooms
            where room_nid = room.room_nid and pending_since is null and left_nid is null
            offset 0
        ) r
    ),
    locked as (
        select r.destination_nid, r.room_nid
        from unmarked u
        join destination_rooms r on r.destination_nid = u.destination_nid and r.room_nid = u.room_nid
        order by r.destination_nid, r.room_nid
        for update of r
    )
    update destination_rooms r
    set pending_since = now()
    from locked l
    where r.destination_nid = l.destination_nid and r.room_nid = l.room_nid";

/// Marks rooms as having events to be sent to the servers in them. Their locks are held.
pub fn mark(db: &Db<'_>, room_nids: Vec<i64>) {
    db.execute(MARK, &[room_nids.into()]);
}
