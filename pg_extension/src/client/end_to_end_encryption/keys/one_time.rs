//! One-time keys and fallback keys: uploading and counting them. Client-Server API, "One-time and fallback
//! keys".

use std::collections::{BTreeMap, HashMap};

use matriarch_rules::{Map, json::parse_value};
use serde_json::Value;

use super::{is_signatures, require_canonical, require_size, unsigned_form};
use crate::base::{
    generation,
    response::{MatrixError, Result},
    spi::Db,
};

/// The algorithm whose count is always returned: some clients take a missing count as unknown.
const USUAL_ALGORITHM: &str = "signed_curve25519";

/// Each sync of the device counts its keys, and would be slow with more.
const MAX_STORED: i64 = 5_000;

/// Each sync of the device returns the algorithms of unused fallback keys.
const MAX_FALLBACK: i64 = 100;

const MAX_NAME_BYTES: usize = 255;

/// What the names of algorithms begin with whose keys are signed.
const SIGNED: &str = "signed_";

/// A key under its name `<algorithm>:<key id>`.
#[derive(Debug)]
pub struct NamedKey {
    pub algorithm: String,
    key_id: String,
    key: Value,
}

/// Reads `one_time_keys` or `fallback_keys` of a request. 400 `M_BAD_JSON` for malformed keys, 413
/// `M_TOO_LARGE` for a key that is too long.
pub fn read(keys: Option<&Map>) -> Result<Vec<NamedKey>> {
    keys.into_iter().flatten().map(|(name, key)| read_key(name, key)).collect()
}

fn read_key(name: &str, key: &Value) -> Result<NamedKey> {
    let refuse = |reason: &str| MatrixError::bad_json(format!("The key {name:?} {reason}."));
    let (algorithm, key_id) =
        name.split_once(':').ok_or_else(|| refuse("is not named by an algorithm, `:` and a key id"))?;
    if name.contains('\0') || algorithm.len() > MAX_NAME_BYTES || key_id.len() > MAX_NAME_BYTES {
        return Err(refuse("has a bad name"));
    }
    let is_signed = algorithm.starts_with(SIGNED);
    let sound = match key {
        Value::String(_) => !is_signed,
        Value::Object(key) => {
            let signatures = key.get("signatures");
            let signed = signatures.map_or(!is_signed, is_signatures);
            key.get("key").is_some_and(Value::is_string) && signed
        }
        _ => false,
    };
    if !sound && is_signed {
        return Err(refuse("is not an object with a `key` and `signatures`"));
    } else if !sound {
        return Err(refuse("is neither a string nor an object with a `key`"));
    }
    key.as_object().map_or(Ok(()), require_canonical)?;
    require_size(&key.to_string())?;
    Ok(NamedKey { algorithm: algorithm.to_owned(), key_id: key_id.to_owned(), key: key.clone() })
}

const STORED: &str = "
    select o.algorithm, o.key_id, o.key
    from unnest($2::text[], $3::text[]) as n (algorithm, key_id)
    cross join lateral (
        select *
        from one_time_keys
        where device_nid = $1 and algorithm = n.algorithm and key_id = n.key_id
        offset 0
    ) o";

/// A stored key stays unchanged, even if it was handed out.
const STORE: &str = "
    insert into one_time_keys (device_nid, algorithm, key_id, key, upload_id, timeline)
    select $1, n.algorithm, n.key_id, n.key, u.upload_id, $5
    from unnest($2::text[], $3::text[], $4::text[]) as n (algorithm, key_id, key),
        (select nextval('one_time_key_uploads') as upload_id offset 0) u
    on conflict (device_nid, algorithm, key_id) do nothing";

/// Keys of earlier timelines of the WAL are never handed out. They are kept as long as keys that were handed
/// out: a repeated upload must not make such a key available again.
const FORGET_OLD: &str = "
    delete from one_time_keys
    where device_nid = $1 and claimed_at is null and timeline <> $2
        and (select min(started_at) from generations where timeline = $2) < now() - interval '30 days'";

/// Stores one-time keys. 400 `M_INVALID_PARAM` for a different key with the name of a stored one, 400
/// `M_TOO_LARGE` for more keys than a device may have. The caller holds the device's lock.
pub fn store(db: &Db<'_>, device_nid: i64, keys: &[NamedKey]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (algorithms, key_ids, texts) = columns(keys);
    let names = || [device_nid.into(), algorithms.clone().into(), key_ids.clone().into()];
    let stored: HashMap<(String, String), String> = db
        .query(STORED, &names())
        .map(|row| ((row.get("algorithm"), row.get("key_id")), row.get("key")))
        .collect();
    for key in keys {
        let stored = stored.get(&(key.algorithm.clone(), key.key_id.clone()));
        if stored.is_some_and(|stored| !same_key(stored, &key.key)) {
            let name = format!("{}:{}", key.algorithm, key.key_id);
            return Err(MatrixError::invalid_param(format!(
                "There is another one-time key {name:?} already."
            )));
        }
    }
    let new = i64::try_from(keys.len().saturating_sub(stored.len())).unwrap_or(i64::MAX);
    if new > 0 && new.saturating_add(Counts::of(db, device_nid).total()) > MAX_STORED {
        return Err(MatrixError::new(400, "M_TOO_LARGE", "The device has too many one-time keys."));
    }
    let [device, algorithms, key_ids] = names();
    db.execute(STORE, &[device, algorithms, key_ids, texts.into(), generation::timeline().into()]);
    db.execute(FORGET_OLD, &[device_nid.into(), generation::timeline().into()]);
    Ok(())
}

/// Whether two keys are equal apart from signatures.
fn same_key(stored: &str, uploaded: &Value) -> bool {
    match (parse_value(stored), uploaded) {
        (Ok(Value::Object(stored)), Value::Object(uploaded)) => {
            unsigned_form(stored) == unsigned_form(uploaded.clone())
        }
        (Ok(stored), uploaded) => stored == *uploaded,
        (Err(_), _) => false,
    }
}

/// Uploading the same key again does not reset `used`.
const STORE_FALLBACK: &str = "
    insert into fallback_keys (device_nid, algorithm, key_id, key)
    select $1, n.algorithm, n.key_id, n.key
    from unnest($2::text[], $3::text[], $4::text[]) as n (algorithm, key_id, key)
    on conflict (device_nid, algorithm) do update
    set key_id = excluded.key_id, key = excluded.key, used = false
    where (fallback_keys.key_id, fallback_keys.key) is distinct from (excluded.key_id, excluded.key)";

const OTHER_FALLBACK: &str = "
    select count(*) as others from fallback_keys where device_nid = $1 and algorithm <> all($2)";

/// 400 `M_TOO_LARGE` if the device would have too many fallback keys.
pub fn require_room(db: &Db<'_>, device_nid: i64, fallback_keys: &[NamedKey]) -> Result<()> {
    if fallback_keys.is_empty() {
        return Ok(());
    }
    let algorithms: Vec<&str> = fallback_keys.iter().map(|key| key.algorithm.as_str()).collect();
    let new = i64::try_from(algorithms.len()).unwrap_or(i64::MAX);
    let others: i64 = db.query_one(OTHER_FALLBACK, &[device_nid.into(), algorithms.into()]).get("others");
    if new.saturating_add(others) <= MAX_FALLBACK {
        Ok(())
    } else {
        Err(MatrixError::new(400, "M_TOO_LARGE", "The device has too many fallback keys."))
    }
}

/// Stores fallback keys. Each replaces the earlier one of its algorithm.
pub fn store_fallback(db: &Db<'_>, device_nid: i64, keys: &[NamedKey]) {
    if !keys.is_empty() {
        let (algorithms, key_ids, texts) = columns(keys);
        db.execute(STORE_FALLBACK, &[device_nid.into(), algorithms.into(), key_ids.into(), texts.into()]);
    }
}

fn columns(keys: &[NamedKey]) -> (Vec<&str>, Vec<&str>, Vec<String>) {
    (
        keys.iter().map(|key| key.algorithm.as_str()).collect(),
        keys.iter().map(|key| key.key_id.as_str()).collect(),
        keys.iter().map(|key| key.key.to_string()).collect(),
    )
}

const COUNT: &str = "
    select d.number, o.algorithm, o.count
    from unnest($1::bigint[]) with ordinality d (device_nid, number)
    cross join lateral (
        select algorithm, count(*)
        from one_time_keys
        where device_nid = d.device_nid and claimed_at is null and timeline = $2
        group by algorithm
        offset 0
    ) o";

/// The number of a device's one-time keys that were not handed out, by algorithm.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<String, i64>);

impl Counts {
    pub fn of(db: &Db<'_>, device_nid: i64) -> Self {
        Self::of_all(db, vec![device_nid]).pop().unwrap_or_default()
    }

    /// The counts of several devices, in their order.
    pub fn of_all(db: &Db<'_>, device_nids: Vec<i64>) -> Vec<Self> {
        let mut counts = vec![Self::none(); device_nids.len()];
        for row in db.query(COUNT, &[device_nids.into(), generation::timeline().into()]) {
            counts[row.get::<i64>("number") as usize - 1].0.insert(row.get("algorithm"), row.get("count"));
        }
        counts
    }

    /// The counts of a device without keys.
    pub fn none() -> Self {
        Self(BTreeMap::from([(USUAL_ALGORITHM.to_owned(), 0)]))
    }

    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(algorithm, count)| (algorithm.clone(), Value::from(*count))).collect()
    }

    fn total(&self) -> i64 {
        self.0.values().sum()
    }
}

const UNUSED_FALLBACK: &str = "
    select d.number, f.algorithm
    from unnest($1::bigint[]) with ordinality d (device_nid, number)
    cross join lateral (
        select algorithm from fallback_keys where device_nid = d.device_nid and not used offset 0
    ) f";

/// For each device, in order, the algorithms of fallback keys that were not handed out.
pub fn unused_fallback_types(db: &Db<'_>, device_nids: Vec<i64>) -> Vec<Vec<String>> {
    let mut types = vec![Vec::new(); device_nids.len()];
    for row in db.query(UNUSED_FALLBACK, &[device_nids.into()]) {
        types[row.get::<i64>("number") as usize - 1].push(row.get("algorithm"));
    }
    types
}
