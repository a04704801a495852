//! Stores keys of remote users that their servers returned. Server-Server API, "End-to-End Encryption".

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::{Map, identifiers::server_name};
use pgrx::pg_extern;
use serde_json::Value;

use crate::base::{
    connection::connect,
    request,
    spi::{Db, Mode},
    users,
};

/// Devices of remote users have no row in `devices`. Keys of local users are never overwritten.
const STORE_DEVICES: &str = "
    insert into device_keys (user_nid, device_id, keys)
    select * from unnest($1::bigint[], $2::text[], $3::text[])
    on conflict (user_nid, device_id) do update set keys = excluded.keys
    where device_keys.device_nid is null and device_keys.keys <> excluded.keys";

/// Deletes devices that a response about all devices of a user does not have.
const FORGET_DEVICES: &str = "
    delete from device_keys k
    using unnest($1::bigint[]) as u (user_nid)
    where k.user_nid = u.user_nid and k.device_nid is null
        and not exists (
            select
            from unnest($2::bigint[], $3::text[]) as d (user_nid, device_id)
            where d.user_nid = k.user_nid and d.device_id = k.device_id
        )";

const STORE_CROSS_SIGNING: &str = "
    insert into cross_signing_keys (user_nid, usage, public_key, keys)
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::text[])
    on conflict (user_nid, usage) do update set public_key = excluded.public_key, keys = excluded.keys
    where cross_signing_keys.keys <> excluded.keys";

const MAX_DEVICE_ID_BYTES: usize = 512;

/// The users of `server` in a section of the response.
fn of_server<'a>(answer: &'a Map, section: &str, server: &str) -> Vec<(&'a str, &'a Map)> {
    let users = answer.get(section).and_then(Value::as_object).into_iter().flatten();
    users
        .filter(|(user_id, _)| server_name(user_id) == Some(server) && !user_id.contains('\0'))
        .filter_map(|(user_id, object)| Some((user_id.as_str(), object.as_object()?)))
        .collect()
}

/// Whether a key names this user as its owner.
fn is_of(user_id: &str, key: &Map) -> bool {
    key.get("user_id").and_then(Value::as_str) == Some(user_id)
}

/// Keeps the device lists of users who share a room with this server. A list that was updated while it was
/// asked for may miss that update: it is stale.
const KEEP: &str = "
    insert into remote_device_lists as l (user_nid, server_name, updates, whole_xid)
    select u.user_nid, $1, a.updates, pg_current_xact_id()
    from unnest($2::text[], $3::bigint[]) as a (user_id, updates)
    cross join lateral (select user_nid from users where user_id = a.user_id offset 0) u
    where exists (select from memberships m where m.user_nid = u.user_nid and m.membership = 'join')
    order by u.user_nid
    on conflict (user_nid) do update
    set whole_xid = case when l.updates = excluded.updates then excluded.whole_xid else l.whole_xid end,
        stale_since = case when l.updates = excluded.updates then l.stale_since
            else coalesce(l.stale_since, now()) end";

/// Stores another server's response to `POST /_matrix/federation/v1/user/keys/query`. Users of other servers
/// than `server` are ignored. `complete` are the users all of whose devices were asked for, and `updates` for
/// each of them `remote_device_lists.updates` when the request was sent; 0 without a row.
#[pg_extern(volatile)]
fn store_remote_keys(server: &str, answer: &str, complete: Vec<String>, updates: Vec<i64>) {
    connect(Mode::Write, |db| {
        let Ok(answer) = request::object(answer) else { return };
        let answered: BTreeSet<&str> =
            of_server(&answer, "device_keys", server).into_iter().map(|(user_id, _)| user_id).collect();
        let kept = complete.iter().map(String::as_str).zip(updates);
        let kept = kept.filter(|(user_id, _)| answered.contains(user_id));
        let (user_ids, updates): (Vec<&str>, Vec<i64>) = kept.unzip();
        if !user_ids.is_empty() {
            db.execute(KEEP, &[server.into(), user_ids.into(), updates.into()]);
        }
        store(db, server, &answer, &complete);
    });
}

/// Stores a parsed response. The rows of `remote_device_lists` that it is about are locked, or there are
/// none.
pub fn store(db: &Db<'_>, server: &str, answer: &Map, complete: &[String]) {
    let devices = of_server(answer, "device_keys", server);
    let sections = [("master_keys", "master"), ("self_signing_keys", "self_signing")]
        .map(|(section, usage)| (usage, of_server(answer, section, server)));
    let user_ids: BTreeSet<&str> = devices
        .iter()
        .chain(sections.iter().flat_map(|(_, keys)| keys))
        .map(|(user_id, _)| *user_id)
        .collect();
    if user_ids.is_empty() {
        return;
    }
    let nids: BTreeMap<String, i64> =
        users::intern(db, &user_ids.into_iter().collect::<Vec<_>>()).into_iter().collect();

    let (mut owners, mut device_ids, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    for (user_id, keys) in &devices {
        for (device_id, key) in *keys {
            let names_itself = |key: &&Map| {
                is_of(user_id, key) && key.get("device_id").and_then(Value::as_str) == Some(device_id)
            };
            let sound = device_id.len() <= MAX_DEVICE_ID_BYTES && !device_id.contains('\0');
            if let Some(key) = key.as_object().filter(names_itself).filter(|_| sound) {
                owners.push(nids[*user_id]);
                device_ids.push(device_id.as_str());
                texts.push(Value::Object(key.clone()).to_string());
            }
        }
    }
    let whole: Vec<i64> = devices
        .iter()
        .filter(|(user_id, _)| complete.iter().any(|name| name == user_id))
        .map(|(user_id, _)| nids[*user_id])
        .collect();
    db.execute(FORGET_DEVICES, &[whole.into(), owners.clone().into(), device_ids.clone().into()]);
    db.execute(STORE_DEVICES, &[owners.into(), device_ids.into(), texts.into()]);

    let (mut owners, mut usages, mut public_keys, mut texts) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (usage, keys) in sections {
        for (user_id, key) in keys {
            let names = key.get("keys").and_then(Value::as_object).filter(|names| names.len() == 1);
            let public_key = names.and_then(|names| names.values().next()).and_then(Value::as_str);
            if let Some(public_key) = public_key.filter(|name| is_of(user_id, key) && !name.contains('\0')) {
                owners.push(nids[user_id]);
                usages.push(usage);
                public_keys.push(public_key);
                texts.push(Value::Object(key.clone()).to_string());
            }
        }
    }
    db.execute(STORE_CROSS_SIGNING, &[owners.into(), usages.into(), public_keys.into(), texts.into()]);
}
