//! Cross-signing keys. Client-Server API, "Cross-signing".

mod signatures;

use std::collections::{BTreeMap, BTreeSet};

use matriarch_rules::{
    Map,
    json::parse_object,
    signature::{PublicKey, verify_json},
};
use pgrx::{iter::TableIterator, pg_extern};
use serde_json::Value;

use super::{
    device_lists,
    keys::{is_signatures, require_canonical, require_size},
};
use crate::base::{
    connection::connect,
    request::Body,
    response::{MatrixError, Response, ResponseRows, Result, row},
    session::Session,
    spi::{Db, Mode},
};

/// `usage` of a cross-signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Usage {
    Master,
    SelfSigning,
    UserSigning,
}

impl Usage {
    const ALL: [Self; 3] = [Self::Master, Self::SelfSigning, Self::UserSigning];

    fn name(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::SelfSigning => "self_signing",
            Self::UserSigning => "user_signing",
        }
    }

    /// The field in a request's body.
    fn field(self) -> &'static str {
        match self {
            Self::Master => "master_key",
            Self::SelfSigning => "self_signing_key",
            Self::UserSigning => "user_signing_key",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|usage| usage.name() == name)
    }
}

/// An uploaded cross-signing key.
#[derive(Debug, Clone, PartialEq)]
struct CrossSigningKey {
    /// The public key in base64, as in the key's id.
    name: String,
    public_key: PublicKey,
    object: Map,
}

impl CrossSigningKey {
    /// Reads a key of this user. 400 `M_INVALID_PARAM` if it is malformed or of another user.
    fn read(usage: Usage, object: &Map, user_id: &str) -> Result<Self> {
        let refuse = |reason: &str| MatrixError::invalid_param(format!("`{}` {reason}.", usage.field()));
        if object.get("user_id").and_then(Value::as_str) != Some(user_id) {
            return Err(refuse("has a `user_id` that is not yours"));
        }
        let usages = object.get("usage").and_then(Value::as_array);
        if !usages.is_some_and(|usages| usages.iter().any(|name| name == usage.name())) {
            return Err(refuse("is for another `usage`"));
        }
        if !object.get("signatures").is_none_or(is_signatures) {
            return Err(refuse("has `signatures` that are none"));
        }
        let keys = object.get("keys").and_then(Value::as_object);
        let Some((key_id, Value::String(key))) =
            keys.filter(|keys| keys.len() == 1).and_then(|keys| keys.iter().next())
        else {
            return Err(refuse("must have one key, which is a string"));
        };
        if key_id.strip_prefix("ed25519:") != Some(key) {
            return Err(refuse("must be named by `ed25519:` and the key itself"));
        }
        let public_key = PublicKey::from_base64(key).map_err(|error| refuse(&format!("is bad: {error}")))?;
        Ok(Self { name: key.clone(), public_key, object: object.clone() })
    }

    /// Whether the object has a signature of the user with this key.
    fn signed(&self, object: &Map, user_id: &str) -> bool {
        let key_id = format!("ed25519:{}", self.name);
        verify_json(object, user_id, |id| (id == key_id).then(|| self.public_key.clone())).is_ok()
    }
}

type Keys = BTreeMap<Usage, CrossSigningKey>;

const STORED: &str = "select usage, keys from cross_signing_keys where user_nid = $1";

/// The stored keys of a user.
fn stored(db: &Db<'_>, user_nid: i64, user_id: &str) -> Keys {
    db.query(STORED, &[user_nid.into()])
        .filter_map(|row| {
            let usage = Usage::named(&row.get::<String>("usage"))?;
            let object = parse_object(&row.get::<String>("keys")).ok()?;
            Some((usage, CrossSigningKey::read(usage, &object, user_id).ok()?))
        })
        .collect()
}

fn uploaded(body: &Body, user_id: &str) -> Result<Keys> {
    let mut keys = Keys::new();
    for usage in Usage::ALL {
        if let Some(object) = body.object(usage.field())? {
            require_canonical(object)?;
            require_size(&Value::Object(object.clone()).to_string())?;
            keys.insert(usage, CrossSigningKey::read(usage, object, user_id)?);
        }
    }
    Ok(keys)
}

/// Checks that the new keys are signed by the master key: that of the request, or else the stored one.
fn check_signatures(new: &Keys, old: &Keys, user_id: &str) -> Result<()> {
    let master = new
        .get(&Usage::Master)
        .or(old.get(&Usage::Master))
        .ok_or_else(|| MatrixError::missing_param("There is no master signing key."))?;
    for (usage, key) in new.iter().filter(|(usage, _)| **usage != Usage::Master) {
        if !master.signed(&key.object, user_id) {
            let reason = format!("`{}` is not signed by the master signing key.", usage.field());
            return Err(MatrixError::new(400, "M_INVALID_SIGNATURE", reason));
        }
    }
    Ok(())
}

/// "There is no existing master signing key", or "the request contains no new keys".
fn may_go_unauthenticated(new: &Keys, old: &Keys) -> bool {
    let is_known = |(usage, key): (&Usage, &CrossSigningKey)| {
        old.get(usage).is_some_and(|old| old.public_key == key.public_key)
    };
    !old.contains_key(&Usage::Master) || new.iter().all(is_known)
}

const DEVICE_IDS: &str = "select device_id from devices where user_nid = $1 and device_id = any($2)";

const STORE: &str = "
    insert into cross_signing_keys (user_nid, usage, public_key, keys) values ($1, $2, $3, $4)
    on conflict (user_nid, usage) do update set public_key = excluded.public_key, keys = excluded.keys";

/// Deletes signatures of the replaced key, and its signatures of the user's own keys.
const FORGET_SIGNATURES: &str = "
    delete from key_signatures
    where user_nid = $1 and (key_name = $2 or (signer_nid = $1 and signer_key_id = 'ed25519:' || $2))";

/// Stores the keys that are new. Returns their usages.
fn store(db: &Db<'_>, user_nid: i64, new: &Keys, old: &Keys) -> BTreeSet<Usage> {
    let mut changed = BTreeSet::new();
    for (usage, key) in new.iter().filter(|(usage, key)| old.get(usage) != Some(key)) {
        changed.insert(*usage);
        if let Some(old) = old.get(usage).filter(|old| old.name != key.name) {
            db.execute(FORGET_SIGNATURES, &[user_nid.into(), old.name.as_str().into()]);
        }
        let text = Value::Object(key.object.clone()).to_string();
        let args = [user_nid.into(), usage.name().into(), key.name.as_str().into(), text.as_str().into()];
        db.execute(STORE, &args);
    }
    changed
}

/// Uploads keys. `None` if user-interactive authentication is needed first.
fn upload(db: &Db<'_>, token_hash: &[u8], body: &str, authenticated: bool) -> Result<Option<Response>> {
    let session = Session::authenticate(db, token_hash)?;
    let new = uploaded(&Body::parse(body)?, &session.user_id)?;
    session.lock_device(db)?;
    session.lock_user(db);
    let old = stored(db, session.user_nid, &session.user_id);
    check_signatures(&new, &old, &session.user_id)?;
    let names: BTreeSet<&str> = new.values().map(|key| key.name.as_str()).collect();
    if names.len() < new.len() {
        return Err(MatrixError::invalid_param("Each key must be another one."));
    }
    let names: Vec<&str> = names.into_iter().collect();
    if db.query_opt(DEVICE_IDS, &[session.user_nid.into(), names.into()]).is_some() {
        return Err(MatrixError::forbidden("Key ID in use: it is the id of a device."));
    }
    if !authenticated && !may_go_unauthenticated(&new, &old) {
        return Ok(None);
    }
    let changed = store(db, session.user_nid, &new, &old);
    let user_nid = session.user_nid;
    Ok(Some(if changed.is_empty() {
        Response::empty()
    } else if changed.iter().all(|usage| *usage == Usage::UserSigning) {
        // Other users cannot see that key.
        device_lists::note_own_change(db, user_nid);
        Response::empty().wake_user(user_nid)
    } else {
        device_lists::note_change(db, user_nid, None);
        device_lists::wake(db, Response::empty(), user_nid)
    }))
}

/// `POST /keys/device_signing/upload`
///
/// `authenticated` tells whether the user passed user-interactive authentication. If that is needed and did
/// not happen, no row is returned.
#[pg_extern(volatile)]
fn upload_cross_signing_keys(token_hash: &[u8], body: &str, authenticated: bool) -> ResponseRows {
    let answer = connect(Mode::Write, |db| upload(db, token_hash, body, authenticated));
    TableIterator::new(answer.transpose().map(row))
}
