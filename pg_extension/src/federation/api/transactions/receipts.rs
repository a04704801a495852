//! `m.receipt`. Server-Server API, "Receipts". A receipt of an event that is not stored is held; see
//! [`held_receipts`](crate::room::held_receipts).

use matriarch_rules::Map;
use serde_json::Value;

use super::rooms::InboundRooms;
use crate::{
    base::{spi::Db, users},
    federation::remote_users::{is_sound, user_of},
};

/// The number of receipts of one transaction. No server has to send more at a time.
const MAX_RECEIPTS: usize = 10_000;

#[derive(Debug)]
struct Receipt {
    room_id: String,
    user_id: String,
    event_id: String,
    /// Empty for an unthreaded receipt.
    thread_id: String,
    ts: i64,
}

/// Receipts of users of the origin.
#[derive(Debug, Default)]
pub struct Receipts(Vec<Receipt>);

/// Writes receipts of joined users for events of the timeline, in the order of the primary key.
const WRITE: &str = "
    insert into receipts (room_nid, user_nid, receipt_type, thread_id, event_nid, pos, ts)
    select distinct on (a.room_nid, u.user_nid, a.thread_id)
        a.room_nid, u.user_nid, 'm.read', a.thread_id, e.event_nid, e.pos, a.ts
    from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[])
        a (room_nid, user_id, event_id, thread_id, ts)
    cross join lateral (select user_nid from users where user_id = a.user_id offset 0) u
    cross join lateral (
        select from memberships
        where room_nid = a.room_nid and user_nid = u.user_nid and membership = 'join'
        offset 0
    ) m
    cross join lateral (
        select event_nid, pos
        from events
        where event_id = a.event_id and room_nid = a.room_nid and pos is not null
        offset 0
    ) e
    order by a.room_nid, u.user_nid, a.thread_id, e.pos desc
    on conflict (room_nid, user_nid, receipt_type, thread_id) do update
    set event_nid = excluded.event_nid, pos = excluded.pos, ts = excluded.ts, xid = excluded.xid
    where receipts.pos < excluded.pos
    returning room_nid";

/// Users who may be joined to partial rooms although no member event says so yet.
const UNKNOWN_MEMBERS: &str = "
    select distinct a.user_id
    from unnest($1::bigint[], $2::text[]) a (room_nid, user_id)
    cross join lateral (select from rooms where room_nid = a.room_nid and partial offset 0) r
    where not exists (
            select
            from room_state_keys k
            where k.room_nid = a.room_nid and k.type = 'm.room.member' and k.state_key = a.user_id
                and k.current_event_nid is not null
        )
        and 1000 > (
            select count(*) from (select from held_receipts where room_nid = a.room_nid limit 1000) held
        )
    limit 1000";

/// Holds receipts for events that are not in the timeline, and those of members who are not known yet, in the
/// order of the primary key: the last one of each user and thread. The number per room is limited.
const HOLD: &str = "
    insert into held_receipts (room_nid, user_nid, thread_id, event_id, ts)
    select distinct on (a.room_nid, u.user_nid, a.thread_id) a.room_nid, u.user_nid, a.thread_id, a.event_id,
        a.ts
    from unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bigint[])
        with ordinality a (room_nid, user_id, event_id, thread_id, ts, number)
    cross join lateral (select user_nid from users where user_id = a.user_id offset 0) u
    left join lateral (
        select true as is_known
        from memberships
        where room_nid = a.room_nid and user_nid = u.user_nid and membership = 'join'
        offset 0
    ) m on true
    where (m.is_known or a.user_id = any($6::text[]))
        and not exists (
            select from events e
            where e.event_id = a.event_id and (m.is_known and e.pos is not null or e.room_nid <> a.room_nid)
        )
        and 1000 > (
            select count(*) from (select from held_receipts where room_nid = a.room_nid limit 1000) held
        )
    order by a.room_nid, u.user_nid, a.thread_id, a.number desc
    on conflict (room_nid, user_nid, thread_id) do update
    set event_id = excluded.event_id, ts = excluded.ts, received_at = excluded.received_at";

impl Receipts {
    /// Reads the content of an EDU; `None` if it is ignored.
    pub fn add(&mut self, origin: &str, content: &Map) -> Option<()> {
        for (room_id, receipts) in content.iter().filter(|(room_id, _)| is_sound(room_id)) {
            let users = receipts.get("m.read").and_then(Value::as_object).into_iter().flatten();
            for (user_id, receipt) in users {
                let user_id = user_of(origin, Some(&Value::from(user_id.as_str())));
                if let Some(receipt) = user_id.and_then(|user_id| read(room_id, user_id, receipt))
                    && self.0.len() < MAX_RECEIPTS
                {
                    self.0.push(receipt);
                }
            }
        }
        Some(())
    }

    pub fn room_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|receipt| receipt.room_id.as_str())
    }

    /// Writes the receipts that are newer than the stored ones. Returns the rooms where something changed.
    pub fn apply(self, db: &Db<'_>, rooms: &InboundRooms) -> Vec<i64> {
        let open: Vec<(i64, &Receipt)> =
            self.0.iter().filter_map(|receipt| Some((rooms.open(&receipt.room_id)?, receipt))).collect();
        if open.is_empty() {
            return Vec::new();
        }
        let column =
            |of: fn(&Receipt) -> &str| open.iter().map(|(_, receipt)| of(receipt)).collect::<Vec<_>>();
        let room_nids: Vec<i64> = open.iter().map(|(room_nid, _)| *room_nid).collect();
        let times: Vec<i64> = open.iter().map(|(_, receipt)| receipt.ts).collect();
        let args = || {
            vec![
                room_nids.clone().into(),
                column(|receipt| &receipt.user_id).into(),
                column(|receipt| &receipt.event_id).into(),
                column(|receipt| &receipt.thread_id).into(),
                times.clone().into(),
            ]
        };
        let unknown: Vec<String> =
            db.query(UNKNOWN_MEMBERS, &args()[..2]).map(|row| row.get("user_id")).collect();
        if !unknown.is_empty() {
            users::intern(db, &unknown.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let mut held = args();
        held.push(unknown.into());
        db.execute(HOLD, &held);
        db.query(WRITE, &args()).map(|row| row.get("room_nid")).collect()
    }
}

fn read(room_id: &str, user_id: String, receipt: &Value) -> Option<Receipt> {
    let event_id = receipt.get("event_ids")?.as_array()?.first()?.as_str()?;
    let data = receipt.get("data")?.as_object()?;
    let thread_id = match data.get("thread_id") {
        None => "",
        Some(thread_id) => thread_id.as_str().filter(|id| !id.is_empty())?,
    };
    (is_sound(event_id) && is_sound(thread_id)).then(|| Receipt {
        room_id: room_id.to_owned(),
        user_id,
        event_id: event_id.to_owned(),
        thread_id: thread_id.to_owned(),
        ts: data.get("ts").and_then(Value::as_i64).unwrap_or_default(),
    })
}
