//! Device lists of remote users. Server-Server API, "Device Management".
//!
//! Each update cites the ones before it: `prev_id` has their `stream_id`. An update that does not follow the
//! stored one makes the user's list stale: then an API node fetches the whole list, and until that is stored,
//! updates are only counted. Lists are kept only of users in rooms that this server knows, so that nobody can
//! fill the database with invented users.
//!
//! Queries of clients are answered from a list that is current: it was stored whole, no update is missing,
//! and the user has shared a room with this server ever since, so that the user's server has sent its
//! updates. The first whole list may be the answer to a query. It has no `stream_id`, so that the next update
//! has the list fetched again.

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::{Map, json::parse_object};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, respond},
        spi::{Db, Mode},
    },
    federation::{
        key_queries,
        remote_users::{is_sound, joined_users, user_of},
    },
};

/// The size of a device's keys, in bytes: the size limit of an EDU.
const MAX_KEYS_BYTES: usize = 65_536;

/// The number of devices that are kept per user.
const MAX_DEVICES: i64 = 1_000;

/// An update of one device.
#[derive(Debug)]
struct Update {
    stream_id: i64,
    prev_ids: Vec<i64>,
    device_id: String,
    /// `None` if the device was deleted or has no keys.
    keys: Option<Map>,
}

/// The updates of a transaction, by user of the origin.
#[derive(Debug, Default)]
pub struct Updates {
    devices: BTreeMap<String, Vec<Update>>,
    /// `master_key` and `self_signing_key`, by user.
    cross_signing: BTreeMap<String, Map>,
}

const MAKE: &str = "
    insert into remote_device_lists (user_nid, server_name)
    select user_nid, $2 from unnest($1::bigint[]) as user_nid order by user_nid
    on conflict (user_nid) do nothing";

const LOCK: &str = "
    select user_nid, stream_id, stale_since is not null as stale
    from remote_device_lists
    where user_nid = any($1)
    order by user_nid
    for update";

const WRITE: &str = "
    update remote_device_lists l
    set stream_id = a.stream_id,
        updates = updates + 1,
        stale_since = case when a.stale then coalesce(l.stale_since, now()) end
    from unnest($1::bigint[], $2::bigint[], $3::boolean[]) a (user_nid, stream_id, stale)
    where l.user_nid = a.user_nid";

const DELETE: &str = "
    delete from device_keys k
    using unnest($1::bigint[], $2::text[]) a (user_nid, device_id)
    where k.user_nid = a.user_nid and k.device_id = a.device_id and k.device_nid is null";

/// Users who have the maximal number of devices.
const FULL: &str = "
    select a.user_nid
    from unnest($1::bigint[]) a (user_nid)
    cross join lateral (
        select count(*) as count
        from (select from device_keys where user_nid = a.user_nid limit $2) kept offset 0
    ) k
    where k.count >= $2";

/// Records the changes for the syncs of local users. Returns the rooms to wake.
const NOTE: &str = "
    with noted as (
        insert into device_list_changes (user_nid) select user_nid from unnest($1::bigint[]) as user_nid
    )
    select distinct m.room_nid
    from unnest($1::bigint[]) as changed (user_nid)
    cross join lateral (
        select room_nid from memberships where user_nid = changed.user_nid and membership = 'join' offset 0
    ) m";

/// A user's device list while updates are applied.
struct List {
    stream_id: Option<i64>,
    stale: bool,
    /// Whether users who share rooms with the user must be told of a change.
    changed: bool,
}

impl List {
    /// Whether the update follows the stored one. If not, the list becomes stale, unless the update is the
    /// stored one.
    fn follows(&mut self, update: &Update) -> bool {
        if self.stream_id == Some(update.stream_id) {
            return false;
        }
        let follows = self.stream_id.is_some_and(|known| update.prev_ids.contains(&known));
        // While a list is stale, changes are not told: that is done when it was fetched.
        self.changed |= !self.stale;
        self.stale |= !follows;
        if !self.stale {
            self.stream_id = Some(update.stream_id);
        }
        !self.stale
    }
}

impl Updates {
    /// Reads the content of an `m.device_list_update`; `None` if it is ignored.
    pub fn add_device(&mut self, origin: &str, content: &Map) -> Option<()> {
        let user_id = user_of(origin, content.get("user_id"))?;
        let device_id = content.get("device_id")?.as_str().filter(|id| is_sound(id))?;
        let stream_id = content.get("stream_id")?.as_i64()?;
        let prev_ids = content.get("prev_id").and_then(Value::as_array).into_iter().flatten();
        let deleted = content.get("deleted") == Some(&Value::Bool(true));
        let keys = content.get("keys").and_then(Value::as_object).filter(|_| !deleted);
        let mut keys = keys.cloned();
        if let Some(keys) = &mut keys {
            keys.insert("unsigned".to_owned(), unsigned(content.get("device_display_name")));
            if Value::Object(keys.clone()).to_string().len() > MAX_KEYS_BYTES {
                return None;
            }
        }
        let prev_ids = prev_ids.filter_map(Value::as_i64).collect();
        let update = Update { stream_id, prev_ids, device_id: device_id.to_owned(), keys };
        self.devices.entry(user_id).or_default().push(update);
        Some(())
    }

    /// Reads the content of an `m.signing_key_update`; `None` if it is ignored.
    pub fn add_cross_signing(&mut self, origin: &str, content: &Map) -> Option<()> {
        let user_id = user_of(origin, content.get("user_id"))?;
        let keys = self.cross_signing.entry(user_id).or_default();
        for (field, _) in CROSS_SIGNING {
            if let Some(key) = content.get(field).filter(|key| key.is_object()) {
                keys.insert(field.to_owned(), key.clone());
            }
        }
        Some(())
    }

    /// Stores the changes. Returns the rooms to wake.
    pub fn apply(mut self, db: &Db<'_>, origin: &str) -> Vec<i64> {
        let user_ids: BTreeSet<&str> =
            self.devices.keys().chain(self.cross_signing.keys()).map(String::as_str).collect();
        if user_ids.is_empty() {
            return Vec::new();
        }
        let users = joined_users(db, &user_ids);
        if users.is_empty() {
            return Vec::new();
        }
        self.devices.retain(|user_id, _| users.contains_key(user_id));
        self.cross_signing.retain(|user_id, _| users.contains_key(user_id));
        let nids: Vec<i64> = users.values().copied().collect();
        db.execute(MAKE, &[nids.clone().into(), origin.into()]);
        let mut lists: BTreeMap<i64, List> = db
            .query(LOCK, &[nids.clone().into()])
            .map(|row| {
                (
                    row.get("user_nid"),
                    List { stream_id: row.opt("stream_id"), stale: row.get("stale"), changed: false },
                )
            })
            .collect();

        // The newest update of each device.
        let mut devices: BTreeMap<(&str, &str), Option<&Map>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (user_id, updates) in &self.devices {
            let Some(list) = lists.get_mut(&users[user_id]) else { continue };
            for update in updates {
                if list.follows(update) {
                    devices.insert((user_id, &update.device_id), update.keys.as_ref());
                }
            }
            seen.insert(users[user_id]);
        }
        let full: BTreeSet<i64> = db
            .query(FULL, &[nids.clone().into(), MAX_DEVICES.into()])
            .map(|row| row.get("user_nid"))
            .collect();
        let (mut owners, mut gone): (Vec<i64>, Vec<&str>) = Default::default();
        let mut answer = Map::new();
        for ((user_id, device_id), keys) in &devices {
            match keys {
                Some(_) if full.contains(&users[*user_id]) => {}
                Some(keys) => {
                    let users = answer.entry("device_keys").or_insert_with(|| json!({}));
                    users[*user_id][*device_id] = Value::Object((*keys).clone());
                }
                None => {
                    owners.push(users[*user_id]);
                    gone.push(device_id);
                }
            }
        }
        for (user_id, keys) in &self.cross_signing {
            for (field, section) in CROSS_SIGNING {
                if let Some(key) = keys.get(field) {
                    let users = answer.entry(section).or_insert_with(|| json!({}));
                    users[user_id.as_str()] = key.clone();
                }
            }
        }
        if !gone.is_empty() {
            db.execute(DELETE, &[owners.into(), gone.into()]);
        }
        key_queries::store(db, origin, &answer, &[]);
        let seen: Vec<i64> = seen.into_iter().collect();
        let stream_ids: Vec<Option<i64>> = seen.iter().map(|nid| lists[nid].stream_id).collect();
        let stale: Vec<bool> = seen.iter().map(|nid| lists[nid].stale).collect();
        db.execute(WRITE, &[seen.into(), stream_ids.into(), stale.into()]);

        let changed = lists.iter().filter(|(_, list)| list.changed).map(|(nid, _)| *nid);
        let cross_signed = self.cross_signing.keys().map(|user_id| users[user_id]);
        let changed: BTreeSet<i64> = changed.chain(cross_signed).collect();
        note(db, changed.into_iter().collect())
    }
}

fn note(db: &Db<'_>, user_nids: Vec<i64>) -> Vec<i64> {
    db.query(NOTE, &[user_nids.into()]).map(|row| row.get("room_nid")).collect()
}

const LIST: &str = "
    select l.user_nid, l.updates, l.server_name
    from users u
    join remote_device_lists l using (user_nid)
    where u.user_id = $1
    for update of l";

/// If updates were received meanwhile, the list is fetched again after a pause.
const FETCHED: &str = "
    update remote_device_lists
    set stream_id = $2,
        whole_xid = pg_current_xact_id(),
        stale_since = case when updates <> $3 then stale_since end,
        attempts = 0,
        next_try_at = now() + interval '10 seconds',
        leased_until = null,
        last_error = null
    where user_nid = $1";

/// Stores another server's response to `GET /_matrix/federation/v1/user/devices/{userId}`. `updates` is the
/// value of `remote_device_lists.updates` when the request was sent.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` if the user's list is not kept, 400 `M_BAD_JSON` for a malformed response.
#[pg_extern(volatile)]
fn store_device_list(user_id: &str, updates: i64, answer: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let row = db
            .query_opt(LIST, &[user_id.into()])
            .ok_or_else(|| MatrixError::not_found("The user's device list is not kept."))?;
        let (user_nid, server): (i64, String) = (row.get("user_nid"), row.get("server_name"));
        let list = read(user_id, answer)
            .ok_or_else(|| MatrixError::bad_json("The response is not a device list."))?;
        key_queries::store(db, &server, &list.keys, &[user_id.to_owned()]);
        db.execute(FETCHED, &[user_nid.into(), list.stream_id.into(), updates.into()]);
        Ok(Response { wake_rooms: note(db, vec![user_nid]), ..Response::empty() })
    })
}

/// A whole device list.
struct WholeList {
    stream_id: i64,
    /// In the form of a response to `POST /user/keys/query`.
    keys: Map,
}

fn read(user_id: &str, answer: &str) -> Option<WholeList> {
    let mut answer = parse_object(answer).ok()?;
    if answer.get("user_id")?.as_str()? != user_id {
        return None;
    }
    let stream_id = answer.get("stream_id")?.as_i64()?;
    let mut devices = Map::new();
    for device in answer.get("devices")?.as_array()?.iter().take(usize::try_from(MAX_DEVICES).unwrap_or(0)) {
        let device_id = device.get("device_id").and_then(Value::as_str).filter(|id| is_sound(id));
        let keys = device.get("keys").and_then(Value::as_object);
        if let (Some(device_id), Some(keys)) = (device_id, keys) {
            let mut keys = keys.clone();
            keys.insert("unsigned".to_owned(), unsigned(device.get("device_display_name")));
            devices.insert(device_id.to_owned(), keys.into());
        }
    }
    let mut keys = Map::new();
    keys.insert("device_keys".to_owned(), json!({ user_id: devices }));
    for (field, section) in CROSS_SIGNING {
        if let Some(key) = answer.remove(field).filter(Value::is_object) {
            keys.insert(section.to_owned(), json!({ user_id: key }));
        }
    }
    Some(WholeList { stream_id, keys })
}

/// The names of the cross-signing keys: as fields in `user/devices` and `m.signing_key_update`, and as
/// sections in `user/keys/query`.
const CROSS_SIGNING: [(&str, &str); 2] =
    [("master_key", "master_keys"), ("self_signing_key", "self_signing_keys")];

/// The `unsigned` part of a device's keys.
fn unsigned(name: Option<&Value>) -> Value {
    name.filter(|name| name.is_string()).map_or(json!({}), |name| json!({ "device_display_name": name }))
}
