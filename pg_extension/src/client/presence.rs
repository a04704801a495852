//! Presence. Client-Server API, "Presence".
//!
//! API nodes learn the presence of devices from syncs. They write it rarely and not during a request
//! ([`note_presence`]). [`settle`] computes a user's presence from that of the devices. A user is online
//! while one of the devices is and the user was active within the last minutes. Only a change that other
//! users see changes `xid`, wakes syncs, and is sent to other servers. There are no timers: `check_at` says
//! when a user's presence must be checked again, and any node does that.

mod expiry;
mod noting;
mod shown;

use std::collections::BTreeSet;

use pgrx::pg_extern;

pub use self::{
    expiry::{RemotePresence, note_remote},
    shown::{Subject, Wanted, news, pushed},
};
use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, respond},
        session::Session,
        spi::{Db, Mode},
    },
    outbox,
};

/// The limit of status messages. Other servers have the same.
pub const MAX_STATUS_CHARS: usize = 2048;

/// For how long a device keeps the presence that its client set, if it does not sync.
const UNSYNCED_SECONDS: f64 = 60.0;

/// Inserts missing rows.
const ENSURE: &str = "
    insert into presence (user_nid)
    select wanted.user_nid
    from (select distinct user_nid from unnest($1::bigint[]) as user_nid) wanted
    where not exists (select from presence p where p.user_nid = wanted.user_nid)
    order by wanted.user_nid
    on conflict (user_nid) do nothing";

const LOCK: &str = "select from presence where user_nid = any($1) order by user_nid for update";

/// Locks the presence of users and of their devices.
fn lock(db: &Db<'_>, user_nids: Vec<i64>) {
    db.execute(ENSURE, &[user_nids.clone().into()]);
    db.execute(LOCK, &[user_nids.into()]);
}

const BUMP: &str = "update presence set last_active_at = now() where user_nid = any($1)";

/// Records that users are active now.
fn bump(db: &Db<'_>, user_nids: Vec<i64>) {
    db.execute(BUMP, &[user_nids.into()]);
}

/// `check_at` is not moved while it is early enough, so that activity does not change the index.
const SETTLE: &str = "
    with settled as (
        select p.user_nid, s.presence,
            case s.presence
                when 'online' then least(
                    p.last_active_at + interval '5 minutes', d.online_until, now() + interval '25 minutes'
                )
                when 'unavailable' then least(d.until, now() + interval '25 minutes')
            end as check_at,
            s.presence <> p.presence as changed
        from unnest($1::bigint[]) as wanted (user_nid)
        cross join lateral (select * from presence where user_nid = wanted.user_nid offset 0) p
        cross join lateral (
            select max(until) as until, max(until) filter (where presence = 'online') as online_until
            from presence_devices
            where user_nid = p.user_nid and until > now()
        ) d
        cross join lateral (
            select case
                when d.until is null then 'offline'
                when d.online_until is not null and p.last_active_at > now() - interval '5 minutes'
                    then 'online'
                else 'unavailable'
            end as presence
        ) s
    ),
    written as (
        update presence p
        set presence = s.presence,
            currently_active = s.presence = 'online',
            check_at = case
                when not s.changed and p.check_at > now() and p.check_at <= s.check_at then p.check_at
                else s.check_at
            end,
            changed_at = case when s.changed then now() else p.changed_at end,
            xid = case when s.changed then pg_current_xact_id() else p.xid end
        from settled s
        where p.user_nid = s.user_nid
            and (s.changed or p.check_at is null or p.check_at <= now() or p.check_at > s.check_at)
    )
    select s.user_nid from settled s where s.changed";

/// Computes the presence of local users from their devices. The rows must be locked. Returns the users whose
/// presence changed.
fn settle(db: &Db<'_>, user_nids: Vec<i64>) -> BTreeSet<i64> {
    db.query(SETTLE, &[user_nids.into()]).map(|row| row.get("user_nid")).collect()
}

const ROOMS: &str = "
    select distinct m.room_nid
    from unnest($1::bigint[]) as u (user_nid)
    cross join lateral (
        select room_nid from memberships where user_nid = u.user_nid and membership = 'join' offset 0
    ) m";

/// Makes a response wake the users whose presence changed, and their rooms.
fn wake(db: &Db<'_>, mut response: Response, user_nids: &BTreeSet<i64>) -> Response {
    if !user_nids.is_empty() {
        let users: Vec<i64> = user_nids.iter().copied().collect();
        response
            .wake_rooms
            .extend(db.query(ROOMS, &[users.clone().into()]).map(|row| row.get::<i64>("room_nid")));
        response.wake_users.extend(users);
    }
    response
}

/// As [`wake`], for local users: also queues EDUs for other servers.
fn tell(db: &Db<'_>, response: Response, user_nids: &BTreeSet<i64>) -> Response {
    if !user_nids.is_empty() {
        outbox::edus::presence(db, user_nids.iter().copied().collect());
    }
    wake(db, response, user_nids)
}

const SET_STATUS: &str = "
    update presence
    set status_msg = $2, changed_at = now(), xid = pg_current_xact_id()
    where user_nid = $1 and status_msg is distinct from $2
    returning user_nid";

const SET_DEVICE: &str = "
    insert into presence_devices as d (device_nid, user_nid, presence, until)
    values ($1, $2, $3, now() + $4 * interval '1 second')
    on conflict (device_nid) do update
    set presence = excluded.presence,
        asked = case when d.until > now() then d.asked end,
        until = greatest(d.until, excluded.until)";

const DELETE_DEVICES: &str = "delete from presence_devices where device_nid = any($1)";

/// `PUT /presence/{userId}/status`
///
/// Sets the presence of the client's device. A device that was set to unavailable stays so while it syncs as
/// before; one that was set to offline is online after its next sync.
#[pg_extern(volatile)]
fn set_presence(token_hash: &[u8], user_id: &str, presence: &str, status_msg: Option<&str>) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let status_msg = status_msg.filter(|status| !status.is_empty());
        if status_msg.is_some_and(|status| status.contains('\0') || status.chars().count() > MAX_STATUS_CHARS)
        {
            return Err(MatrixError::invalid_param("`status_msg` is too long or malformed."));
        }
        let user = session.user_nid;
        lock(db, vec![user]);
        match presence {
            "online" | "unavailable" => {
                let args = [session.device_nid.into(), user.into(), presence.into(), UNSYNCED_SECONDS.into()];
                db.execute(SET_DEVICE, &args);
            }
            "offline" => {
                db.execute(DELETE_DEVICES, &[vec![session.device_nid].into()]);
            }
            _ => {
                return Err(MatrixError::invalid_param("`presence` must be online, unavailable or offline."));
            }
        }
        bump(db, vec![user]);
        let has_new_status = db.query_opt(SET_STATUS, &[user.into(), status_msg.into()]).is_some();
        let mut changed = settle(db, vec![user]);
        if has_new_status {
            changed.insert(user);
        }
        Ok(tell(db, Response::empty(), &changed))
    })
}

/// `GET /presence/{userId}/status`
///
/// 403 `M_FORBIDDEN` unless it is the user's own presence, or that of a user with whom they share a room.
#[pg_extern(stable)]
fn presence(token_hash: &[u8], user_id: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let content = shown::of_user(db, &session, user_id)
            .ok_or_else(|| MatrixError::forbidden("You share no room with this user."))?;
        Ok(Response::new(content))
    })
}
