//! `POST /keys/query`

use std::collections::{BTreeMap, BTreeSet, HashMap};

use matriarch_rules::{Map, identifiers::server_name, json::parse_object};
use pgrx::pg_extern;
use serde_json::{Value, json};

use super::failures;
use crate::base::{
    request::Body,
    response::{MatrixError, Response, ResponseRows, Result, respond},
    session::Session,
    signing::Signer,
    spi::{Db, Mode, Row},
};

/// In the place of an asker's nid: another server, which gets what any user may see.
const NOBODY: i64 = 0;

/// The requested devices; `None` for all.
type Devices<'a> = Option<BTreeSet<&'a str>>;

/// The requested users.
struct Wanted<'a> {
    user_ids: Vec<&'a str>,
    /// The requested devices of each user.
    devices: Vec<Devices<'a>>,
}

const USERS: &str = "
    select w.number, u.user_nid
    from unnest($1::text[]) with ordinality w (user_id, number)
    cross join lateral (select user_nid from users where user_id = w.user_id offset 0) u";

const DEVICES: &str = "
    select k.user_nid, k.device_id, k.keys, d.display_name,
        k.device_nid is not null as is_logged_in
    from unnest($1::bigint[]) as w (user_nid)
    cross join lateral (select * from device_keys where user_nid = w.user_nid offset 0) k
    left join lateral (select display_name from devices where device_nid = k.device_nid offset 0) d on true";

const CROSS_SIGNING: &str = "
    select k.user_nid, k.usage, k.public_key, k.keys
    from unnest($1::bigint[]) as w (user_nid)
    cross join lateral (select * from cross_signing_keys where user_nid = w.user_nid offset 0) k
    where k.usage <> 'user_signing' or k.user_nid = $2";

/// The signatures that the asker may see: those by the owner of the key, and the asker's own. Another server
/// has none of its own.
const SIGNATURES: &str = "
    select s.user_nid, s.key_name, u.user_id, s.signer_key_id, s.signature
    from unnest($1::bigint[]) as w (user_nid)
    cross join lateral (
        select * from key_signatures where user_nid = w.user_nid and signer_nid in (w.user_nid, $2) offset 0
    ) s
    cross join lateral (select user_id from users where user_nid = s.signer_nid offset 0) u";

/// Signatures (user, key id, signature) by the owner and name of the signed key.
type Signatures = HashMap<(i64, String), Vec<(String, String, String)>>;

fn signatures(db: &Db<'_>, user_nids: &[i64], asker_nid: i64) -> Signatures {
    let mut signatures = Signatures::new();
    for row in db.query(SIGNATURES, &[user_nids.to_vec().into(), asker_nid.into()]) {
        let signed = signatures.entry((row.get("user_nid"), row.get("key_name"))).or_default();
        signed.push((row.get("user_id"), row.get("signer_key_id"), row.get("signature")));
    }
    signatures
}

/// A stored key, with the signatures that were uploaded for it later.
fn with_signatures(keys: &str, later: Option<&Vec<(String, String, String)>>) -> Option<Map> {
    let mut keys = parse_object(keys).ok()?;
    if let Some(later) = later {
        let signatures = keys.entry("signatures").or_insert_with(|| json!({})).as_object_mut()?;
        for (user_id, key_id, signature) in later {
            let of_user = signatures.entry(user_id.as_str()).or_insert_with(|| json!({})).as_object_mut()?;
            of_user.insert(key_id.clone(), signature.as_str().into());
        }
    }
    Some(keys)
}

/// Reads `device_keys` of a request: lists of devices by user; an empty list is all devices.
fn read(keys: &Map) -> Result<Vec<(&str, Devices<'_>)>> {
    let refuse = || MatrixError::bad_json("`device_keys` must be lists of device ids by user.");
    let mut wanted = Vec::new();
    for (user_id, devices) in keys {
        let devices: BTreeSet<&str> = match devices {
            Value::Array(devices) => devices.iter().map(Value::as_str).collect::<Option<_>>(),
            _ => None,
        }
        .ok_or_else(refuse)?;
        if !user_id.contains('\0') {
            wanted.push((user_id.as_str(), Some(devices).filter(|devices| !devices.is_empty())));
        }
    }
    Ok(wanted)
}

/// The keys of a response, by user.
#[derive(Default)]
pub struct Found {
    /// By user, by device.
    pub device_keys: BTreeMap<String, Map>,
    cross_signing: BTreeMap<&'static str, Map>,
}

impl Wanted<'_> {
    /// `asker_nid` is the user whose own signatures are included, or [`NOBODY`].
    fn find(&self, db: &Db<'_>, asker_nid: i64) -> Found {
        let mut found = Found::default();
        // A user without devices is included too; otherwise clients would repeat the request.
        for user_id in &self.user_ids {
            found.device_keys.insert((*user_id).to_owned(), Map::new());
        }
        let indices: BTreeMap<i64, usize> = db
            .query(USERS, &[self.user_ids.clone().into()])
            .map(|row| (row.get("user_nid"), row.get::<i64>("number") as usize - 1))
            .collect();
        let user_nids: Vec<i64> = indices.keys().copied().collect();
        let signatures = signatures(db, &user_nids, asker_nid);

        for row in db.query(DEVICES, &[user_nids.clone().into()]) {
            let index = indices[&row.get::<i64>("user_nid")];
            let device_id: String = row.get("device_id");
            let wanted = self.devices[index].as_ref().is_none_or(|devices| devices.contains(&*device_id));
            if let Some(device) = wanted.then(|| device(&row, &device_id, &signatures)).flatten() {
                let devices = found.device_keys.entry(self.user_ids[index].to_owned()).or_default();
                devices.insert(device_id, Value::Object(device));
            }
        }
        for row in db.query(CROSS_SIGNING, &[user_nids.into(), asker_nid.into()]) {
            let section = match &*row.get::<String>("usage") {
                "master" => "master_keys",
                "self_signing" => "self_signing_keys",
                _ => "user_signing_keys",
            };
            let user_nid: i64 = row.get("user_nid");
            let later = signatures.get(&(user_nid, row.get("public_key")));
            if let Some(keys) = with_signatures(&row.get::<String>("keys"), later) {
                let section = found.cross_signing.entry(section).or_default();
                section.insert(self.user_ids[indices[&user_nid]].to_owned(), Value::Object(keys));
            }
        }
        found
    }
}

fn device(row: &Row<'_>, device_id: &str, signatures: &Signatures) -> Option<Map> {
    let later = signatures.get(&(row.get("user_nid"), device_id.to_owned()));
    let mut keys = with_signatures(&row.get::<String>("keys"), later)?;
    // The stored keys of a remote device contain the `unsigned` of its server.
    if row.get::<bool>("is_logged_in") {
        let unsigned = match row.opt::<String>("display_name") {
            Some(name) => json!({ "device_display_name": name }),
            None => json!({}),
        };
        keys.insert("unsigned".to_owned(), unsigned);
    }
    Some(keys)
}

impl Found {
    fn answer(self) -> Value {
        let mut answer = json!({ "device_keys": self.device_keys });
        for (section, keys) in self.cross_signing {
            answer[section] = Value::Object(keys);
        }
        answer
    }

    /// Removes and returns a user's cross-signing keys, as `master_key` and `self_signing_key`.
    pub fn cross_signing_of(&mut self, user_id: &str) -> Vec<(&'static str, Value)> {
        [("master_keys", "master_key"), ("self_signing_keys", "self_signing_key")]
            .into_iter()
            .filter_map(|(section, name)| Some((name, self.cross_signing.get_mut(section)?.remove(user_id)?)))
            .collect()
    }
}

/// Reads the requested users from a body.
fn wanted(body: &Body) -> Result<Wanted<'_>> {
    // The timeout for other servers is for the API node, which asks them.
    body.unsigned("timeout")?;
    let keys =
        body.object("device_keys")?.ok_or_else(|| MatrixError::missing_param("`device_keys` is missing."))?;
    let (user_ids, devices) = read(keys)?.into_iter().unzip();
    Ok(Wanted { user_ids, devices })
}

/// The remote users of these whose device lists are kept, also where the last update is missing.
const KEPT: &str = "
    select wanted.user_id
    from unnest($1::text[]) as wanted (user_id)
    cross join lateral (select user_nid from users where user_id = wanted.user_id offset 0) u
    cross join lateral (
        select whole_xid from remote_device_lists where user_nid = u.user_nid offset 0
    ) l
    where l.whole_xid is not null and shares_room_since(u.user_nid, l.whole_xid)";

/// `POST /keys/query`
///
/// `answered` are the other servers whose answers were stored before. Users of others are failures, unless
/// their device lists are kept.
#[pg_extern(stable)]
fn query_keys(token_hash: &[u8], body: &str, answered: Vec<String>) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let ours = server_name(&session.user_id);
        let body = Body::parse(body)?;
        let wanted = wanted(&body)?;
        let is_known = |user_id: &str| {
            let server = server_name(user_id);
            server == ours || answered.iter().any(|name| server == Some(name))
        };
        let others: Vec<&str> = wanted.user_ids.iter().copied().filter(|id| !is_known(id)).collect();
        let kept = db.query(KEPT, &[others.clone().into()]).map(|row| row.get("user_id"));
        let kept: BTreeSet<String> = kept.collect();
        let failed: BTreeSet<&str> = others.into_iter().filter(|id| !kept.contains(*id)).collect();
        let mut found = wanted.find(db, session.user_nid);
        // What is stored of these users may be old, and is better than nothing.
        found.device_keys.retain(|user_id, keys| !keys.is_empty() || !failed.contains(user_id.as_str()));
        let mut answer = found.answer();
        answer["failures"] = Value::Object(failures(failed));
        Ok(Response::json(&answer))
    })
}

/// The keys of local users for other servers. `body` is that of a query.
///
/// # Errors
///
/// 400 `M_BAD_JSON` for a malformed body.
pub fn for_servers(db: &Db<'_>, body: &Body) -> Result<Value> {
    let ours = Signer::current(db).server_name.clone();
    let Wanted { user_ids, devices } = wanted(body)?;
    let of_ours = user_ids.into_iter().zip(devices);
    let of_ours = of_ours.filter(|(user_id, _)| server_name(user_id) == Some(ours.as_str()));
    let (user_ids, devices) = of_ours.unzip();
    Ok(Wanted { user_ids, devices }.find(db, NOBODY).answer())
}

/// The keys of all devices of a user and the user's cross-signing keys, for other servers.
pub fn all_of_user(db: &Db<'_>, user_id: &str) -> Found {
    Wanted { user_ids: vec![user_id], devices: vec![None] }.find(db, NOBODY)
}

/// The keys and name of a device, for other servers. `None` if it has no keys or does not exist.
pub fn of_device(db: &Db<'_>, user_id: &str, device_id: &str) -> Option<(Map, Option<String>)> {
    let wanted = Wanted { user_ids: vec![user_id], devices: vec![Some(BTreeSet::from([device_id]))] };
    let device = wanted.find(db, NOBODY).device_keys.remove(user_id)?.remove(device_id)?;
    let Value::Object(mut keys) = device else { return None };
    let unsigned = keys.remove("unsigned");
    let name = unsigned.as_ref().and_then(|unsigned| unsigned.get("device_display_name")?.as_str());
    Some((keys, name.map(str::to_owned)))
}

/// A user's cross-signing keys for other servers, as `master_key` and `self_signing_key`.
pub fn cross_signing_of(db: &Db<'_>, user_id: &str) -> Vec<(&'static str, Value)> {
    all_of_user(db, user_id).cross_signing_of(user_id)
}
