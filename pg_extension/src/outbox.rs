//! The outbox queues what other servers are to be sent: events and EDUs. Server-Server API, "Transactions".
//!
//! The database transaction that appends a local event marks the event as outgoing if other servers are in
//! the room, and marks the room as pending for each of them. Later a node claims a destination, builds a
//! federation transaction from what is pending for it, and sends it; see `federation/outgoing.rs`.

pub mod edus;

use crate::base::spi::Db;

/// The user nid that stands for the senders of federation transactions among the users to wake.
pub const SENDERS: i64 = 0;

/// Rows that are pending already are not touched. So a destination that is backed off costs nothing, however
/// many events are written.
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

/// Marks rooms as pending for the servers in them. The caller holds the rooms' locks.
pub fn mark(db: &Db<'_>, room_nids: Vec<i64>) {
    db.execute(MARK, &[room_nids.into()]);
}
