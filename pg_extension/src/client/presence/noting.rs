//! Presence of devices that API nodes have seen syncing.

use std::collections::{BTreeMap, BTreeSet};

use pgrx::{Array, iter::TableIterator, pg_extern};

use super::{bump, lock, settle, tell};
use crate::base::{
    connection::connect,
    response::Response,
    spi::{Db, Mode},
};

/// The rooms and users to wake.
pub type WakeRows =
    TableIterator<'static, (pgrx::name!(wake_rooms, Vec<i64>), pgrx::name!(wake_users, Vec<i64>))>;

/// Encodes the rooms and users to wake.
pub fn row(response: Response) -> WakeRows {
    TableIterator::once((response.wake_rooms, response.wake_users))
}

/// What an API node has seen of a device.
struct Note {
    device_nid: i64,
    user_nid: i64,
    /// `set_presence` of its syncs; `None` if it did not sync.
    asked: Option<String>,
    seconds: f64,
    is_active: bool,
}

const DEVICES: &str = "
    select a.number, t.device_nid, t.user_nid
    from unnest($1::bytea[]) with ordinality a (token_hash, number)
    cross join lateral (
        select device_nid, user_nid from access_tokens where token_hash = a.token_hash offset 0
    ) t";

/// Stores what an API node has seen of several devices. Unknown access tokens are ignored.
///
/// `seconds`: for how long the device counts as present.
#[pg_extern(volatile)]
fn note_presence(
    token_hashes: Array<'_, &[u8]>,
    asked: Vec<Option<String>>,
    seconds: Vec<f64>,
    active: Vec<bool>,
) -> WakeRows {
    let token_hashes: Vec<&[u8]> = token_hashes.iter().map(Option::unwrap_or_default).collect();
    row(connect(Mode::Write, |db| {
        let mut notes: BTreeMap<i64, Note> = BTreeMap::new();
        for row in db.query(DEVICES, &[token_hashes.into()]) {
            let index = row.get::<i64>("number") as usize - 1;
            let (Some(asked), Some(seconds), Some(is_active)) =
                (asked.get(index), seconds.get(index), active.get(index))
            else {
                continue;
            };
            let (device_nid, user_nid) = (row.get("device_nid"), row.get("user_nid"));
            let note =
                Note { device_nid, user_nid, asked: asked.clone(), seconds: *seconds, is_active: *is_active };
            notes.insert(device_nid, note);
        }
        take(db, &notes.into_values().collect::<Vec<_>>())
    }))
}

/// Users of devices whose syncs say that they are online, and that were not online before.
const CAME: &str = "
    select n.user_nid
    from unnest($1::bigint[], $2::bigint[], $3::text[]) as n (device_nid, user_nid, asked)
    where n.asked = 'online' and not exists (
        select
        from presence_devices d
        where d.device_nid = n.device_nid and d.until > now() and d.asked = 'online'
    )";

/// A presence that the client set otherwise stays valid as long as its syncs set the same. Where the client
/// set it before any sync, syncs as online, which is the default, leave it.
const SYNCED: &str = "
    insert into presence_devices as d (device_nid, user_nid, asked, presence, until)
    select n.device_nid, n.user_nid, n.asked, n.asked, now() + n.seconds * interval '1 second'
    from unnest($1::bigint[], $2::bigint[], $3::text[], $4::float8[])
        as n (device_nid, user_nid, asked, seconds)
    order by n.device_nid
    on conflict (device_nid) do update
    set asked = excluded.asked,
        presence = case
            when d.until > now() and coalesce(d.asked, 'online') = excluded.asked then d.presence
            else excluded.presence
        end,
        until = greatest(d.until, excluded.until)";

/// An active device is online, if it is present at all.
const ACTIVE: &str = "
    update presence_devices set presence = 'online'
    where device_nid = any($1) and presence = 'unavailable' and until > now()";

const KNOWN: &str = "select user_nid from presence where user_nid = any($1)";

const GONE: &str = "delete from presence_devices where device_nid = any($1)";

fn take(db: &Db<'_>, notes: &[Note]) -> Response {
    let is_there = |note: &&Note| matches!(note.asked.as_deref(), Some("online" | "unavailable"));
    let there: Vec<&Note> = notes.iter().filter(is_there).collect();
    let others: Vec<i64> = notes.iter().filter(|note| !is_there(note)).map(|note| note.user_nid).collect();
    // There is nothing to store for users who never had presence.
    let known = db.query(KNOWN, &[others.into()]).map(|row| row.get("user_nid"));
    let users: BTreeSet<i64> = there.iter().map(|note| note.user_nid).chain(known).collect();
    if users.is_empty() {
        return Response::default();
    }
    let users: Vec<i64> = users.into_iter().collect();
    lock(db, users.clone());
    let mut active: BTreeSet<i64> =
        notes.iter().filter(|note| note.is_active).map(|note| note.user_nid).collect();
    if !there.is_empty() {
        let devices: Vec<i64> = there.iter().map(|note| note.device_nid).collect();
        let owners: Vec<i64> = there.iter().map(|note| note.user_nid).collect();
        let asked: Vec<Option<&str>> = there.iter().map(|note| note.asked.as_deref()).collect();
        let seconds: Vec<f64> = there.iter().map(|note| note.seconds).collect();
        let came = db.query(CAME, &[devices.clone().into(), owners.clone().into(), asked.clone().into()]);
        active.extend(came.map(|row| row.get::<i64>("user_nid")));
        db.execute(SYNCED, &[devices.into(), owners.into(), asked.into(), seconds.into()]);
    }
    let devices = |choose: fn(&Note) -> bool| -> Vec<i64> {
        notes.iter().filter(|note| choose(note)).map(|note| note.device_nid).collect()
    };
    let gone = devices(|note| note.asked.as_deref() == Some("offline"));
    if !gone.is_empty() {
        db.execute(GONE, &[gone.into()]);
    }
    db.execute(ACTIVE, &[devices(|note| note.is_active).into()]);
    bump(db, active.into_iter().collect());
    let changed = settle(db, users);
    tell(db, Response::default(), &changed)
}
