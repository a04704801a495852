//! This server's name and the key that signs its events.

use std::{cell::RefCell, rc::Rc};

use matriarch_rules::KeyPair;

use crate::base::spi::Db;

/// This server's name with one of its signing keys.
#[derive(Debug)]
pub struct Signer {
    pub server_name: String,
    pub key: KeyPair,
}

thread_local! {
    /// The signer that this backend used last. The server's name never changes, and a key id names one key.
    static LAST: RefCell<Option<Rc<Signer>>> = const { RefCell::new(None) };
}

const CURRENT_KEY: &str = "
    select key_id from signing_keys where expired_at is null order by created_at desc, key_id limit 1";

const LOAD: &str = "select s.server_name, k.seed from server s, signing_keys k where k.key_id = $1";

impl Signer {
    /// The signer with the newest key in use.
    ///
    /// # Panics
    ///
    /// If the server was not initialized (`matriarch.initialize`).
    pub fn current(db: &Db<'_>) -> Rc<Self> {
        let row = db.query_opt(CURRENT_KEY, &[]);
        Self::of_key(db, row.map(|row| row.get("key_id")))
    }

    /// The signer with this key. `key_id` is the newest key in use, which the caller has read.
    pub fn of_key(db: &Db<'_>, key_id: Option<String>) -> Rc<Self> {
        let key_id = key_id.unwrap_or_else(|| panic!("there is no signing key: call matriarch.initialize"));
        LAST.with_borrow_mut(|last| match last {
            Some(signer) if signer.key.key_id() == key_id => Rc::clone(signer),
            _ => {
                let signer = Rc::new(Self::load(db, &key_id));
                *last = Some(Rc::clone(&signer));
                signer
            }
        })
    }

    fn load(db: &Db<'_>, key_id: &str) -> Self {
        let row = db.query_one(LOAD, &[key_id.into()]);
        Self {
            server_name: row.get("server_name"),
            key: Self::key_of_seed(key_id, &row.get::<Vec<u8>>("seed")),
        }
    }

    /// The key pair of a row of `signing_keys`.
    ///
    /// # Panics
    ///
    /// If `seed` does not have 32 bytes, or `key_id` is malformed.
    pub fn key_of_seed(key_id: &str, seed: &[u8]) -> KeyPair {
        seed.try_into()
            .ok()
            .and_then(|seed| KeyPair::from_seed(key_id, seed).ok())
            .unwrap_or_else(|| panic!("the signing key {key_id} is malformed"))
    }

    /// Whether the server name in a user id, room id or alias is this server's.
    pub fn is_local(&self, id: &str) -> bool {
        matriarch_rules::identifiers::server_name(id) == Some(self.server_name.as_str())
    }
}
