//! `POST /keys/upload`

use matriarch_rules::{Map, json::parse_object};
use pgrx::pg_extern;
use serde_json::Value;

use super::{
    is_signatures,
    one_time::{self, Counts, NamedKey},
    require_canonical, require_size, unsigned_form,
};
use crate::{
    base::{
        request::Body,
        response::{MatrixError, Response, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode},
    },
    client::end_to_end_encryption::device_lists,
};

/// The keys that are uploaded for a device.
#[derive(Debug, Default)]
pub struct Upload {
    device_keys: Option<Map>,
    one_time_keys: Vec<NamedKey>,
    fallback_keys: Vec<NamedKey>,
}

impl Upload {
    /// Reads and checks a request's body. 400 `M_BAD_JSON` for device keys that name another user or device,
    /// and for keys that are malformed or cannot be signed. 413 `M_TOO_LARGE` for a key that is too long.
    pub fn read(body: &Body, user_id: &str, device_id: &str) -> Result<Self> {
        let device_keys = body.object("device_keys")?;
        if let Some(keys) = device_keys {
            check_device_keys(keys, user_id, device_id)?;
            require_canonical(keys)?;
            require_size(&Value::Object(keys.clone()).to_string())?;
        }
        let fallback_keys =
            body.object("fallback_keys")?.or(body.object("org.matrix.msc2732.fallback_keys")?);
        let upload = Self {
            device_keys: device_keys.cloned(),
            one_time_keys: one_time::read(body.object("one_time_keys")?)?,
            fallback_keys: one_time::read(fallback_keys)?,
        };
        let mut algorithms: Vec<&str> = upload.fallback_keys.iter().map(|key| &*key.algorithm).collect();
        algorithms.sort_unstable();
        if algorithms.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(MatrixError::invalid_param("There can be one fallback key of an algorithm."));
        }
        Ok(upload)
    }
}

/// Checks the required fields. Other clients and servers could not read keys that lack one.
fn check_device_keys(keys: &Map, user_id: &str, device_id: &str) -> Result<()> {
    let is = |field: &str, expected: &str| keys.get(field).and_then(Value::as_str) == Some(expected);
    let has = |field: &str, test: fn(&Value) -> bool| keys.get(field).is_some_and(test);
    let all_strings = |value: &Value| match value {
        Value::Array(items) => items.iter().all(Value::is_string),
        Value::Object(items) => items.values().all(Value::is_string),
        _ => false,
    };
    let problem = if !is("user_id", user_id) {
        "`user_id` of the device keys is not yours."
    } else if !is("device_id", device_id) {
        "`device_id` of the device keys is not this device's."
    } else if !has("algorithms", |value| value.is_array()) || !has("algorithms", all_strings) {
        "`algorithms` of the device keys must be an array of strings."
    } else if !has("keys", Value::is_object) || !has("keys", all_strings) {
        "`keys` of the device keys must be an object of strings."
    } else if !has("signatures", is_signatures) {
        "`signatures` of the device keys must be signatures by key id by user id."
    } else {
        return Ok(());
    };
    Err(MatrixError::bad_json(problem))
}

const STORED: &str = "select keys from device_keys where user_nid = $1 and device_id = $2";

const STORE: &str = "
    insert into device_keys (user_nid, device_id, device_nid, keys) values ($1, $2, $3, $4)
    on conflict (user_nid, device_id) do update set device_nid = excluded.device_nid, keys = excluded.keys";

/// Signatures of earlier keys of the device do not cover the new ones.
const FORGET_SIGNATURES: &str = "delete from key_signatures where user_nid = $1 and key_name = $2";

/// Stores uploaded keys. Returns whether other users see a change: the caller then wakes the user's rooms.
///
/// 400 `M_INVALID_PARAM` if another one-time key has the same name, 400 `M_TOO_LARGE` for too many keys.
pub fn store(db: &Db<'_>, owner: &Session, upload: &Upload) -> Result<bool> {
    let Session { user_nid, device_nid, device_id, .. } = owner;
    owner.lock_device(db)?;
    one_time::require_room(db, *device_nid, &upload.fallback_keys)?;
    one_time::store(db, *device_nid, &upload.one_time_keys)?;
    one_time::store_fallback(db, *device_nid, &upload.fallback_keys);

    let Some(keys) = &upload.device_keys else { return Ok(false) };
    // Of two concurrent uploads, the later one sees the earlier one and replaces it.
    owner.lock_user(db);
    let stored = db
        .query_opt(STORED, &[(*user_nid).into(), device_id.as_str().into()])
        .and_then(|row| parse_object(&row.get::<String>("keys")).ok());
    if stored.as_ref() == Some(keys) {
        return Ok(false);
    }
    // Signatures of a deleted device with the same id may be left.
    if stored.is_none_or(|stored| unsigned_form(stored) != unsigned_form(keys.clone())) {
        db.execute(FORGET_SIGNATURES, &[(*user_nid).into(), device_id.as_str().into()]);
    }
    let text = Value::Object(keys.clone()).to_string();
    let args = [(*user_nid).into(), device_id.as_str().into(), (*device_nid).into(), text.as_str().into()];
    db.execute(STORE, &args);
    device_lists::note_change(db, *user_nid, Some(device_id));
    Ok(true)
}

/// `POST /keys/upload`
#[pg_extern(volatile)]
fn upload_keys(token_hash: &[u8], body: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let upload = Upload::read(&Body::parse(body)?, &session.user_id, &session.device_id)?;
        let changed = store(db, &session, &upload)?;
        let counts = Counts::of(db, session.device_nid);
        let response: Response = single("one_time_key_counts", counts.to_json());
        Ok(if changed { device_lists::wake(db, response, session.user_nid) } else { response })
    })
}
