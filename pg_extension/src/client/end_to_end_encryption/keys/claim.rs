//! `POST /keys/claim`: each one-time key is handed out once.

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::{Map, identifiers::server_name, json_text::object_text};
use pgrx::pg_extern;
use serde_json::{Value, value::RawValue};

use super::failures;
use crate::base::{
    generation,
    request::Body,
    response::{MatrixError, Response, ResponseRows, Result, respond},
    session::Session,
    spi::{Db, Mode},
};

/// Requested keys: devices and algorithms, as columns of the same length.
#[derive(Debug, Default)]
struct Wanted<'a> {
    user_ids: Vec<&'a str>,
    device_ids: Vec<&'a str>,
    algorithms: Vec<&'a str>,
}

/// The claimed keys, as JSON text by name, by device, by user.
type Claimed = BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>;

/// Concurrent claims take different keys, and none waits.
const CLAIM: &str = "
    update one_time_keys k
    set claimed_at = now()
    from (
        select w.number, o.device_nid, o.algorithm, o.key_id
        from unnest($1::text[], $2::text[], $3::text[])
            with ordinality w (user_id, device_id, algorithm, number)
        cross join lateral (select user_nid from users where user_id = w.user_id offset 0) u
        cross join lateral (
            select device_nid from devices where user_nid = u.user_nid and device_id = w.device_id offset 0
        ) d
        cross join lateral (
            select device_nid, algorithm, key_id
            from one_time_keys
            where device_nid = d.device_nid and algorithm = w.algorithm and claimed_at is null
                and timeline = $4
            order by upload_id
            limit 1
            for update skip locked
        ) o
        order by o.device_nid
    ) c
    where k.device_nid = c.device_nid and k.algorithm = c.algorithm and k.key_id = c.key_id
    returning c.number, k.key_id, k.key";

const FALLBACK: &str = "
    select w.number, f.key_id, f.key, f.device_nid, f.used
    from unnest($1::text[], $2::text[], $3::text[]) with ordinality w (user_id, device_id, algorithm, number)
    cross join lateral (select user_nid from users where user_id = w.user_id offset 0) u
    cross join lateral (
        select device_nid from devices where user_nid = u.user_nid and device_id = w.device_id offset 0
    ) d
    cross join lateral (
        select * from fallback_keys where device_nid = d.device_nid and algorithm = w.algorithm offset 0
    ) f";

const USE_FALLBACK: &str = "
    update fallback_keys f
    set used = true
    from (
        select *
        from unnest($1::bigint[], $2::text[], $3::text[]) as u (device_nid, algorithm, key_id)
        order by device_nid, algorithm
    ) u
    where f.device_nid = u.device_nid and f.algorithm = u.algorithm and f.key_id = u.key_id and not f.used";

impl<'a> Wanted<'a> {
    fn push(&mut self, user_id: &'a str, device_id: &'a str, algorithm: &'a str) {
        self.user_ids.push(user_id);
        self.device_ids.push(device_id);
        self.algorithms.push(algorithm);
    }

    /// Claims one-time keys. Returns the requests for devices that have none.
    fn claim_one_time(self, db: &Db<'_>, claimed: &mut Claimed) -> Self {
        let args = [
            self.user_ids.clone().into(),
            self.device_ids.clone().into(),
            self.algorithms.clone().into(),
            generation::timeline().into(),
        ];
        let mut done = BTreeSet::new();
        for row in db.query(CLAIM, &args) {
            let index = row.get::<i64>("number") as usize - 1;
            done.insert(index);
            self.note(index, &row.get::<String>("key_id"), row.get("key"), claimed);
        }
        let mut rest = Self::default();
        for index in (0..self.user_ids.len()).filter(|index| !done.contains(index)) {
            rest.push(self.user_ids[index], self.device_ids[index], self.algorithms[index]);
        }
        rest
    }

    fn claim_fallback(&self, db: &Db<'_>, claimed: &mut Claimed) {
        let args =
            [self.user_ids.clone().into(), self.device_ids.clone().into(), self.algorithms.clone().into()];
        let (mut devices, mut algorithms, mut key_ids) = (Vec::new(), Vec::new(), Vec::new());
        for row in db.query(FALLBACK, &args) {
            let index = row.get::<i64>("number") as usize - 1;
            let key_id: String = row.get("key_id");
            self.note(index, &key_id, row.get("key"), claimed);
            if !row.get::<bool>("used") {
                devices.push(row.get::<i64>("device_nid"));
                algorithms.push(self.algorithms[index]);
                key_ids.push(key_id);
            }
        }
        if !devices.is_empty() {
            db.execute(USE_FALLBACK, &[devices.into(), algorithms.into(), key_ids.into()]);
        }
    }

    fn note(&self, index: usize, key_id: &str, key: String, claimed: &mut Claimed) {
        let of_user = claimed.entry(self.user_ids[index].to_owned()).or_default();
        let of_device = of_user.entry(self.device_ids[index].to_owned()).or_default();
        of_device.insert(format!("{}:{key_id}", self.algorithms[index]), key);
    }
}

/// Reads `one_time_keys` of a request: algorithm by device by user.
fn read(keys: &Map) -> Result<impl Iterator<Item = (&str, &str, &str)>> {
    let refuse = || MatrixError::bad_json("`one_time_keys` must be algorithms by device by user.");
    let mut wanted = Vec::new();
    for (user_id, devices) in keys {
        for (device_id, algorithm) in devices.as_object().ok_or_else(refuse)? {
            let algorithm = algorithm.as_str().ok_or_else(refuse)?;
            // No user, device or algorithm has a name with U+0000.
            if ![user_id, device_id, algorithm].iter().any(|part| part.contains('\0')) {
                wanted.push((user_id.as_str(), device_id.as_str(), algorithm));
            }
        }
    }
    Ok(wanted.into_iter())
}

/// Claims keys. With `with_failures`, the servers of remote users are returned in `failures`; `ours` is this
/// server's name.
pub fn claim(db: &Db<'_>, body: &str, ours: &str, with_failures: bool) -> Result<Response> {
    let body = Body::parse(body)?;
    // The timeout for other servers is for the API node, which asks them.
    body.unsigned("timeout")?;
    let keys = body
        .object("one_time_keys")?
        .ok_or_else(|| MatrixError::missing_param("`one_time_keys` is missing."))?;
    let (mut wanted, mut elsewhere) = (Wanted::default(), BTreeSet::new());
    for (user_id, device_id, algorithm) in read(keys)? {
        if server_name(user_id) == Some(ours) {
            wanted.push(user_id, device_id, algorithm);
        } else {
            elsewhere.insert(user_id);
        }
    }
    let mut claimed = Claimed::new();
    let rest = wanted.claim_one_time(db, &mut claimed);
    rest.claim_fallback(db, &mut claimed);
    let raw = |key: &String| RawValue::from_string(key.clone()).ok();
    let claimed: BTreeMap<_, BTreeMap<_, BTreeMap<_, _>>> = claimed
        .iter()
        .map(|(user_id, devices)| {
            let devices = devices.iter().map(|(device_id, keys)| {
                (device_id, keys.iter().map(|(name, key)| (name, raw(key))).collect())
            });
            (user_id, devices.collect())
        })
        .collect();
    Ok(Response::new(object_text(|answer| {
        answer.value("one_time_keys", claimed);
        if with_failures {
            answer.value("failures", Value::Object(failures(elsewhere)));
        }
    })))
}

/// `POST /keys/claim`
#[pg_extern(volatile)]
fn claim_keys(token_hash: &[u8], body: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        claim(db, body, server_name(&session.user_id).unwrap_or_default(), true)
    })
}
