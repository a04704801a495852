//! `POST /keys/signatures/upload`

use matriarch_rules::{
    Map,
    json::parse_object,
    signature::{PublicKey, verify_json},
};
use pgrx::pg_extern;
use serde_json::{Value, json};

use super::{CrossSigningKey, Keys, Usage, stored};
use crate::{
    device_keys::{is_signatures, unsigned_form},
    device_lists, request,
    response::{MatrixError, ResponseRows, Result, respond, single},
    session::Session,
    spi::{Db, Mode},
};

/// Whose signatures these are.
struct Signer<'a> {
    session: &'a Session,
    keys: Keys,
}

/// A signature that is right: the key that made it, and itself.
type Signature = (String, String);

const USER: &str = "select user_nid from users where user_id = $1";

const DEVICE: &str = "select keys from device_keys where user_nid = $1 and device_id = $2";

const STORE: &str = "
    insert into key_signatures (user_nid, key_name, signer_nid, signer_key_id, signature)
    select $1, $2, $3, s.signer_key_id, s.signature
    from unnest($4::text[], $5::text[]) as s (signer_key_id, signature)
    on conflict (user_nid, key_name, signer_nid, signer_key_id) do update set signature = excluded.signature
    where key_signatures.signature <> excluded.signature";

fn invalid(reason: &str) -> MatrixError {
    MatrixError::new(400, "M_INVALID_SIGNATURE", reason)
}

fn unknown() -> MatrixError {
    MatrixError::not_found("There is no such key.")
}

/// Only `signatures` may be other than in the key that is there.
fn require_same(uploaded: &Map, stored: &Map) -> Result<()> {
    match unsigned_form(uploaded.clone()) == unsigned_form(stored.clone()) {
        true => Ok(()),
        false => Err(MatrixError::invalid_param("The key is not the one that is there.")),
    }
}

impl Signer<'_> {
    /// Stores the signatures of one key; tells whether any is new.
    fn sign(&self, db: &Db<'_>, user_id: &str, key_name: &str, object: &Value) -> Result<bool> {
        let object = object.as_object().ok_or_else(|| MatrixError::bad_json("A key must be an object."))?;
        if !object.get("signatures").is_some_and(is_signatures) {
            return Err(invalid("The key has no signatures."));
        }
        let user_nid: i64 = match user_id == self.session.user_id {
            true => self.session.user_nid,
            false => db.query_opt(USER, &[user_id.into()]).ok_or_else(unknown)?.get(1),
        };
        let signatures = if user_nid != self.session.user_nid {
            self.of_other_user(db, user_nid, user_id, key_name, object)?
        } else if self.keys.get(&Usage::Master).is_some_and(|master| master.name == key_name) {
            self.of_own_master_key(db, object)?
        } else {
            self.of_own_device(db, key_name, object)?
        };
        let (key_ids, signatures): (Vec<String>, Vec<String>) = signatures.into_iter().unzip();
        let args = [
            user_nid.into(),
            key_name.into(),
            self.session.user_nid.into(),
            key_ids.into(),
            signatures.into(),
        ];
        if db.execute(STORE, &args) == 0 {
            return Ok(false);
        }
        match user_nid == self.session.user_nid {
            true => {
                let device_id = (!self.is_cross_signing_key(key_name)).then_some(key_name);
                device_lists::note_change(db, user_nid, device_id, None);
            }
            false => device_lists::note_change(db, user_nid, None, Some(self.session.user_nid)),
        }
        Ok(true)
    }

    fn is_cross_signing_key(&self, name: &str) -> bool {
        self.keys.values().any(|key| key.name == name)
    }

    /// Another user's master key, by the user-signing key.
    fn of_other_user(
        &self,
        db: &Db<'_>,
        user_nid: i64,
        user_id: &str,
        key_name: &str,
        object: &Map,
    ) -> Result<Vec<Signature>> {
        let keys = stored(db, user_nid, user_id);
        let master = keys.get(&Usage::Master).filter(|key| key.name == key_name).ok_or_else(unknown)?;
        require_same(object, &master.object)?;
        self.by(Usage::UserSigning, object)
    }

    /// The user's own device, by the self-signing key.
    fn of_own_device(&self, db: &Db<'_>, device_id: &str, object: &Map) -> Result<Vec<Signature>> {
        let keys = self.device(db, device_id).ok_or_else(unknown)?;
        require_same(object, &keys)?;
        self.by(Usage::SelfSigning, object)
    }

    /// The user's own master key, by the user's devices.
    fn of_own_master_key(&self, db: &Db<'_>, object: &Map) -> Result<Vec<Signature>> {
        if let Some(master) = self.keys.get(&Usage::Master) {
            require_same(object, &master.object)?;
        }
        let mut signatures = Vec::new();
        for (key_id, signature) in self.own_signatures(object) {
            let device_id = key_id.strip_prefix("ed25519:").unwrap_or_default();
            // Clients send the key with the signatures that it had.
            if self.is_cross_signing_key(device_id) {
                continue;
            }
            let key = self.device(db, device_id).and_then(|device| {
                let key = device.get("keys")?.get(key_id)?.as_str()?;
                PublicKey::from_base64(key).ok()
            });
            let key = key.ok_or_else(|| invalid("The key is signed by a device that is not known."))?;
            let right = verify_json(object, &self.session.user_id, |id| (id == key_id).then(|| key.clone()));
            right.map_err(|error| invalid(&format!("{error}.")))?;
            signatures.push((key_id.clone(), signature.to_owned()));
        }
        match signatures.is_empty() {
            true => Err(invalid("The key is signed by no device of yours.")),
            false => Ok(signatures),
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
        let signature = self.own_signatures(object).find(|(id, _)| **id == key_id);
        Ok(signature.map(|(key_id, signature)| (key_id.clone(), signature.to_owned())).into_iter().collect())
    }

    fn own_signatures<'o>(&self, object: &'o Map) -> impl Iterator<Item = (&'o String, &'o str)> {
        let signatures =
            object.get("signatures").and_then(|signatures| signatures.get(&self.session.user_id));
        let signatures = signatures.and_then(Value::as_object).into_iter().flatten();
        signatures.filter_map(|(key_id, signature)| Some((key_id, signature.as_str()?)))
    }

    fn device(&self, db: &Db<'_>, device_id: &str) -> Option<Map> {
        if device_id.contains('\0') {
            return None;
        }
        let row = db.query_opt(DEVICE, &[self.session.user_nid.into(), device_id.into()])?;
        parse_object(&row.get::<String>(1)).ok()
    }
}

/// `POST /keys/signatures/upload`
///
/// What is wrong with one key keeps no other from being signed: it is told in `failures`.
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
        let signer = Signer { session: &session, keys: stored(db, session.user_nid, &session.user_id) };
        let mut failures = Map::new();
        let (mut own, mut others) = (false, false);
        for (user_id, keys) in keys_by_user {
            for (key_name, object) in keys {
                let signed = match [user_id, key_name].iter().any(|name| name.contains('\0')) {
                    true => Err(unknown()),
                    false => signer.sign(db, user_id, key_name, object),
                };
                match signed {
                    Ok(new) if *user_id == session.user_id => own |= new,
                    Ok(new) => others |= new,
                    Err(error) => {
                        let of_user = failures.entry(user_id.as_str()).or_insert_with(|| json!({}));
                        of_user[key_name] = json!({ "errcode": error.errcode, "error": error.error });
                    }
                }
            }
        }
        let response = single("failures", failures);
        Ok(match (own, others) {
            (true, _) => device_lists::wake(db, response, session.user_nid),
            (false, true) => response.wake_user(session.user_nid),
            (false, false) => response,
        })
    })
}
