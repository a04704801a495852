//! `POST /keys/signatures/upload`

use std::collections::{HashMap, HashSet};

use matriarch_rules::{
    Map,
    json::parse_object,
    signature::{PublicKey, verify_json},
};
use pgrx::{check_for_interrupts, pg_extern};
use serde_json::{Value, json};

use super::{CrossSigningKey, Keys, Usage, stored};
use crate::{
    base::{
        request,
        response::{MatrixError, ResponseRows, Result, respond, single},
        session::Session,
        spi::{Db, Mode},
    },
    client::end_to_end_encryption::{
        device_lists::{self, Change},
        keys::{is_signatures, require_canonical, unsigned_form},
    },
};

/// The user who signs, and the stored keys that can be signed.
struct Signer<'a> {
    session: &'a Session,
    keys: Keys,
    /// The user's devices that the request names.
    devices: HashMap<String, Map>,
    /// Other users whose keys are signed.
    others: HashMap<String, (i64, Keys)>,
}

/// A valid signature: the id of the signing key, and the signature.
type Signature = (String, String);

const OTHERS: &str = "
    select wanted.user_id, u.user_nid, k.usage, k.keys
    from unnest($1::text[]) as wanted (user_id)
    cross join lateral (select user_nid from users where user_id = wanted.user_id offset 0) u
    left join cross_signing_keys k on k.user_nid = u.user_nid";

const DEVICES: &str = "
    select d.device_id, d.keys
    from unnest($2::text[]) as wanted (device_id)
    cross join lateral (
        select device_id, keys from device_keys where user_nid = $1 and device_id = wanted.device_id offset 0
    ) d";

/// Returns the keys that have new signatures.
const STORE: &str = "
    with stored as (
        insert into key_signatures (user_nid, key_name, signer_nid, signer_key_id, signature)
        select s.user_nid, s.key_name, $1, s.signer_key_id, s.signature
        from unnest($2::bigint[], $3::text[], $4::text[], $5::text[])
            as s (user_nid, key_name, signer_key_id, signature)
        on conflict (user_nid, key_name, signer_nid, signer_key_id) do update
        set signature = excluded.signature
        where key_signatures.signature <> excluded.signature
        returning user_nid, key_name
    )
    select distinct user_nid, key_name from stored";

fn invalid(reason: &str) -> MatrixError {
    MatrixError::new(400, "M_INVALID_SIGNATURE", reason)
}

fn unknown() -> MatrixError {
    MatrixError::not_found("There is no such key.")
}

/// Requires that the uploaded key differs from the stored one only in `signatures` and `unsigned`.
fn require_same(uploaded: &Map, stored: &Map) -> Result<()> {
    if unsigned_form(uploaded.clone()) == unsigned_form(stored.clone()) {
        Ok(())
    } else {
        Err(MatrixError::invalid_param("The key is not the one that is there."))
    }
}

/// The signatures of one key.
struct Signed<'a> {
    user_nid: i64,
    key_name: &'a str,
    signatures: Vec<Signature>,
}

impl<'a> Signer<'a> {
    /// Reads the stored keys that the request names.
    fn read(db: &Db<'_>, session: &'a Session, keys_by_user: &[(&String, &Map)]) -> Self {
        let is_own = |user_id: &str| user_id == session.user_id;
        let others = keys_by_user.iter().map(|(user_id, _)| user_id.as_str());
        let others: Vec<&str> =
            others.filter(|user_id| !is_own(user_id) && !user_id.contains('\0')).collect();
        let own = keys_by_user.iter().filter(|(user_id, _)| is_own(user_id)).flat_map(|(_, keys)| *keys);
        // Devices sign the master key.
        let devices: HashSet<&str> = own
            .flat_map(|(name, object)| {
                let signers = own_signatures(object.as_object(), &session.user_id);
                let signers = signers.filter_map(|(key_id, _)| key_id.strip_prefix("ed25519:"));
                signers.chain([name.as_str()])
            })
            .filter(|device_id| !device_id.contains('\0'))
            .collect();
        let devices: Vec<&str> = devices.into_iter().collect();
        Self {
            session,
            keys: stored(db, session.user_nid, &session.user_id),
            devices: db
                .query(DEVICES, &[session.user_nid.into(), devices.into()])
                .filter_map(|row| {
                    Some((row.get("device_id"), parse_object(&row.get::<String>("keys")).ok()?))
                })
                .collect(),
            others: read_others(db, others),
        }
    }

    /// Checks the signatures of one key.
    fn sign<'k>(&self, user_id: &str, key_name: &'k str, object: &Value) -> Result<Signed<'k>> {
        let object = object.as_object().ok_or_else(|| MatrixError::bad_json("A key must be an object."))?;
        if !object.get("signatures").is_some_and(is_signatures) {
            return Err(invalid("The key has no signatures."));
        }
        require_canonical(object)?;
        let (user_nid, signatures) = if user_id != self.session.user_id {
            let (user_nid, keys) = self.others.get(user_id).ok_or_else(unknown)?;
            (*user_nid, self.of_other_user(keys, key_name, object)?)
        } else if self.keys.get(&Usage::Master).is_some_and(|master| master.name == key_name) {
            (self.session.user_nid, self.of_own_master_key(object)?)
        } else {
            (self.session.user_nid, self.of_own_device(key_name, object)?)
        };
        Ok(Signed { user_nid, key_name, signatures })
    }

    /// Stores signatures and the changes of device lists. Returns whether there are new signatures of the
    /// user's own keys, and of others'.
    fn store(&self, db: &Db<'_>, signed: &[Signed<'_>]) -> (bool, bool) {
        let (mut user_nids, mut key_names) = (Vec::new(), Vec::new());
        let (mut key_ids, mut signatures) = (Vec::new(), Vec::new());
        for key in signed {
            for (key_id, signature) in &key.signatures {
                user_nids.push(key.user_nid);
                key_names.push(key.key_name);
                key_ids.push(key_id.as_str());
                signatures.push(signature.as_str());
            }
        }
        let own_nid = self.session.user_nid;
        let args = [own_nid.into(), user_nids.into(), key_names.into(), key_ids.into(), signatures.into()];
        let new: Vec<(i64, String)> =
            db.query(STORE, &args).map(|row| (row.get("user_nid"), row.get("key_name"))).collect();
        let changes = new.iter().map(|(user_nid, key_name)| {
            if *user_nid == own_nid {
                let device_id = (!self.is_cross_signing_key(key_name)).then_some(key_name.as_str());
                Change { user_nid: own_nid, device_id, audience: None }
            } else {
                Change { user_nid: *user_nid, device_id: None, audience: Some(own_nid) }
            }
        });
        device_lists::note_changes(db, changes);
        let is_own = |(user_nid, _): &(i64, String)| *user_nid == own_nid;
        (new.iter().any(is_own), !new.iter().all(is_own))
    }

    fn is_cross_signing_key(&self, name: &str) -> bool {
        self.keys.values().any(|key| key.name == name)
    }

    /// The signature of another user's master key by the user-signing key.
    fn of_other_user(&self, keys: &Keys, key_name: &str, object: &Map) -> Result<Vec<Signature>> {
        let master = keys.get(&Usage::Master).filter(|key| key.name == key_name).ok_or_else(unknown)?;
        require_same(object, &master.object)?;
        self.by(Usage::UserSigning, object)
    }

    /// The signature of the user's own device by the self-signing key.
    fn of_own_device(&self, device_id: &str, object: &Map) -> Result<Vec<Signature>> {
        require_same(object, self.devices.get(device_id).ok_or_else(unknown)?)?;
        self.by(Usage::SelfSigning, object)
    }

    /// The signatures of the user's own master key by the user's devices.
    fn of_own_master_key(&self, object: &Map) -> Result<Vec<Signature>> {
        if let Some(master) = self.keys.get(&Usage::Master) {
            require_same(object, &master.object)?;
        }
        let mut signatures = Vec::new();
        for (key_id, signature) in own_signatures(Some(object), &self.session.user_id) {
            let device_id = key_id.strip_prefix("ed25519:").unwrap_or_default();
            // Clients send the key with its earlier signatures.
            if self.is_cross_signing_key(device_id) {
                continue;
            }
            let key = self.devices.get(device_id).and_then(|device| {
                let key = device.get("keys")?.get(key_id)?.as_str()?;
                PublicKey::from_base64(key).ok()
            });
            let key = key.ok_or_else(|| invalid("The key is signed by a device that is not known."))?;
            let right = verify_json(object, &self.session.user_id, |id| (id == key_id).then(|| key.clone()));
            right.map_err(|error| invalid(&format!("{error}.")))?;
            signatures.push((key_id.clone(), signature.to_owned()));
        }
        if signatures.is_empty() {
            Err(invalid("The key is signed by no device of yours."))
        } else {
            Ok(signatures)
        }
    }

    /// The signature by one of the user's cross-signing keys.
    fn by(&self, usage: Usage, object: &Map) -> Result<Vec<Signature>> {
        let key: &CrossSigningKey =
            self.keys.get(&usage).ok_or_else(|| invalid("You have no key that could sign it."))?;
        if !key.signed(object, &self.session.user_id) {
            return Err(invalid("The signature is missing or wrong."));
        }
        let key_id = format!("ed25519:{}", key.name);
        let mut signatures = own_signatures(Some(object), &self.session.user_id);
        let signature = signatures.find(|(id, _)| **id == key_id);
        Ok(signature.map(|(key_id, signature)| (key_id.clone(), signature.to_owned())).into_iter().collect())
    }
}

/// The signatures of an object by a user: ids of keys, and signatures.
fn own_signatures<'o>(
    object: Option<&'o Map>,
    user_id: &str,
) -> impl Iterator<Item = (&'o String, &'o str)> + use<'o> {
    let signatures = object.and_then(|object| object.get("signatures")?.get(user_id)?.as_object());
    signatures.into_iter().flatten().filter_map(|(key_id, signature)| Some((key_id, signature.as_str()?)))
}

/// Users, with their cross-signing keys.
fn read_others(db: &Db<'_>, user_ids: Vec<&str>) -> HashMap<String, (i64, Keys)> {
    let mut others: HashMap<String, (i64, Keys)> = HashMap::new();
    if user_ids.is_empty() {
        return others;
    }
    for row in db.query(OTHERS, &[user_ids.into()]) {
        let user_id: String = row.get("user_id");
        let key = row.opt::<String>("usage").zip(row.opt::<String>("keys")).and_then(|(usage, keys)| {
            let usage = Usage::named(&usage)?;
            Some((usage, CrossSigningKey::read(usage, &parse_object(&keys).ok()?, &user_id).ok()?))
        });
        others.entry(user_id).or_insert_with(|| (row.get("user_nid"), Keys::new())).1.extend(key);
    }
    others
}

/// `POST /keys/signatures/upload`
///
/// An invalid signature of one key does not affect the others: it is returned in `failures`.
#[pg_extern(volatile)]
fn upload_signatures(token_hash: &[u8], body: &str) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let body = request::object(body)?;
        // Before anything is stored.
        let refuse = || MatrixError::bad_json("The body must be keys by key id by user id.");
        let keys_by_user: Vec<(&String, &Map)> = body
            .iter()
            .map(|(user_id, keys)| Some((user_id, keys.as_object()?)))
            .collect::<Option<_>>()
            .ok_or_else(refuse)?;
        session.lock_user(db);
        let signer = Signer::read(db, &session, &keys_by_user);
        let mut failures = Map::new();
        let mut all_signed = Vec::new();
        for (user_id, keys) in keys_by_user {
            for (key_name, object) in keys {
                check_for_interrupts!();
                match signer.sign(user_id, key_name, object) {
                    Ok(signed) => all_signed.push(signed),
                    Err(error) => {
                        let of_user = failures.entry(user_id.as_str()).or_insert_with(|| json!({}));
                        of_user[key_name] = json!({ "errcode": error.errcode, "error": error.error });
                    }
                }
            }
        }
        let (own, others) =
            if all_signed.is_empty() { (false, false) } else { signer.store(db, &all_signed) };
        let response = single("failures", failures);
        Ok(match (own, others) {
            (true, _) => device_lists::wake(db, response, session.user_nid),
            (false, true) => response.wake_user(session.user_nid),
            (false, false) => response,
        })
    })
}
