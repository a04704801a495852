//! Presence that expires, and presence of remote users.

use std::collections::{BTreeMap, BTreeSet};

use pgrx::pg_extern;

use super::{
    noting::{WakeRows, row},
    settle, tell, wake,
};
use crate::{
    base::{
        connection::connect,
        response::Response,
        spi::{Db, Mode},
    },
    outbox,
};

/// Skips rows that another node is working on.
const DUE: &str = "
    with due as (
        select user_nid from presence where check_at <= now() order by check_at limit 1000
    )
    select p.user_nid, p.is_remote, p.told_at < now() - interval '20 minutes' as is_untold
    from due
    join presence p on p.user_nid = due.user_nid
    where p.check_at <= now()
    order by p.user_nid
    for update of p skip locked";

const PRUNE_DEVICES: &str = "delete from presence_devices where user_nid = any($1) and until <= now()";

const REMOTE_IS_GONE: &str = "
    update presence
    set presence = 'offline', currently_active = false, check_at = null, changed_at = now(),
        xid = pg_current_xact_id()
    where user_nid = any($1)";

/// Ends expired presence, and repeats to other servers which users are present: servers take users as offline
/// if they hear nothing for about an hour, as this server does. API nodes call it every two seconds.
#[pg_extern(volatile)]
fn expire_presence() -> WakeRows {
    row(connect(Mode::Write, |db| {
        let (mut own, mut remote, mut untold) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for row in db.query(DUE, &[]) {
            let user_nid: i64 = row.get("user_nid");
            if row.get("is_remote") {
                remote.insert(user_nid);
            } else {
                own.push(user_nid);
                if row.get("is_untold") {
                    untold.insert(user_nid);
                }
            }
        }
        let mut response = Response::default();
        if !remote.is_empty() {
            db.execute(REMOTE_IS_GONE, &[remote.iter().copied().collect::<Vec<_>>().into()]);
            response = wake(db, response, &remote);
        }
        if !own.is_empty() {
            db.execute(PRUNE_DEVICES, &[own.clone().into()]);
            let changed = settle(db, own);
            let unchanged: Vec<i64> = untold.difference(&changed).copied().collect();
            if !unchanged.is_empty() {
                outbox::edus::presence(db, unchanged);
            }
            response = tell(db, response, &changed);
        }
        response
    }))
}

/// The presence of a remote user, as its server reported it.
#[derive(Debug)]
pub struct RemotePresence {
    pub presence: String,
    pub status_msg: Option<String>,
    pub currently_active: bool,
    /// In milliseconds.
    pub last_active_ago: i64,
}

/// If the user is not currently active, a later time of the last activity is a change too.
const WRITE: &str = "
    insert into presence as p
        (user_nid, presence, status_msg, currently_active, last_active_at, is_remote, check_at)
    select a.user_nid, a.presence, a.status_msg, a.currently_active,
        now() - a.last_active_ago * interval '1 millisecond', true,
        case when a.presence <> 'offline' then now() + interval '1 hour' end
    from unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[], $5::bigint[])
        as a (user_nid, presence, status_msg, currently_active, last_active_ago)
    order by a.user_nid
    on conflict (user_nid) do update
    set presence = excluded.presence, status_msg = excluded.status_msg,
        currently_active = excluded.currently_active, last_active_at = excluded.last_active_at,
        check_at = excluded.check_at,
        changed_at = case
            when (p.presence, p.status_msg, p.currently_active)
                is distinct from (excluded.presence, excluded.status_msg, excluded.currently_active)
            then excluded.changed_at
            else p.changed_at
        end,
        xid = case
            when (p.presence, p.status_msg, p.currently_active)
                is distinct from (excluded.presence, excluded.status_msg, excluded.currently_active)
                or not excluded.currently_active
                and excluded.last_active_at > p.last_active_at + interval '1 minute'
            then excluded.xid
            else p.xid
        end
    returning user_nid, xid = pg_current_xact_id() as changed";

/// Stores the presence of remote users, by `user_nid`. Returns the rooms to wake.
pub fn note_remote(db: &Db<'_>, users: &BTreeMap<i64, RemotePresence>) -> Vec<i64> {
    if users.is_empty() {
        return Vec::new();
    }
    let args = [
        users.keys().copied().collect::<Vec<_>>().into(),
        users.values().map(|user| user.presence.as_str()).collect::<Vec<_>>().into(),
        users.values().map(|user| user.status_msg.as_deref()).collect::<Vec<_>>().into(),
        users.values().map(|user| user.currently_active).collect::<Vec<_>>().into(),
        users.values().map(|user| user.last_active_ago).collect::<Vec<_>>().into(),
    ];
    let changed =
        db.query(WRITE, &args).filter(|row| row.get("changed")).map(|row| row.get("user_nid")).collect();
    wake(db, Response::default(), &changed).wake_rooms
}
