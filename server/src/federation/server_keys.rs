//! Signing keys: publishes this server's, and fetches other servers'. Server-Server API, "Retrieving server
//! keys".

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::Method;
use matriarch_rules::signature::{PublicKey, verify_json};
use moka::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::debug;

use super::http_client::{FederationError, HttpClient, Request};
use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::Db;

/// The timeout for keys. Often a request waits for them.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest answer that is read, in bytes. It is kept for servers that ask this one as a notary.
const MAX_ANSWER: usize = 65_536;
/// How long a server is not asked again after it gave no valid answer.
const FAILURE_LIFETIME: Duration = Duration::from_secs(60);
/// How many servers a node remembers to have asked lately.
const MAX_SLOTS: u64 = 10_000;
/// The most keys in one answer.
const MAX_KEYS: usize = 1000;
/// How long an answer may be used, whatever it says. Server-Server API, "Publishing Keys": "Servers MUST use
/// the lesser of this field and 7 days into the future".
const MAX_LIFETIME_MS: i64 = 7 * 24 * 3_600_000;

const PUBLISHED: &str = "select matriarch.published_keys() as keys";

const STORE: &str = include_str!("server_keys/store.sql");

const NEWEST: &str =
    "select response, valid_until_ts from matriarch.server_key_responses where server_name = $1";

const DROP: &str = include_str!("server_keys/drop.sql");

/// The longest answer that is kept for the keys that a newer one does not have, in bytes.
const MAX_DROPPED: usize = 64 * 1024;

const FIND: &str = include_str!("server_keys/find.sql");

/// This server's published keys, as JSON text.
pub async fn own(db: &Db) -> Result<String, ApiError> {
    let row = db.query_opt(PUBLISHED, &[]).await?.ok_or_else(ApiError::internal)?;
    Ok(row.get("keys"))
}

/// Milliseconds since 1970.
pub fn now_ts() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The verified keys that a server published.
#[derive(Clone, Debug)]
pub struct ServerKeys {
    pub response: Map<String, Value>,
    /// Until when they may be used: at most seven days from when they were read.
    pub valid_until_ts: i64,
}

impl ServerKeys {
    /// Checks that the answer is of that server: at least one key in it has signed it, and all signatures by
    /// keys in it are valid.
    pub fn read(response: Map<String, Value>, server_name: &str) -> Result<Self, &'static str> {
        if response.get("server_name").and_then(Value::as_str) != Some(server_name) {
            return Err("it is of another server");
        }
        let valid_until_ts = response.get("valid_until_ts").and_then(Value::as_i64);
        let valid_until_ts = valid_until_ts.ok_or("valid_until_ts is missing")?;
        let in_use =
            response.get("verify_keys").and_then(Value::as_object).ok_or("verify_keys are missing")?;
        let old = response.get("old_verify_keys").and_then(Value::as_object).map_or(0, Map::len);
        if in_use.len() + old > MAX_KEYS {
            return Err("there are too many keys");
        }
        let key = |key_id: &str| PublicKey::from_base64(in_use.get(key_id)?.get("key")?.as_str()?).ok();
        verify_json(&response, server_name, key).map_err(|_| "it is not signed by a key in it")?;
        Ok(Self { response, valid_until_ts: valid_until_ts.min(now_ts() + MAX_LIFETIME_MS) })
    }

    /// Stores the keys. `direct` says that the server itself gave them, and no notary.
    async fn store(&self, db: &Db, server_name: &str, direct: bool) -> Result<(), ApiError> {
        let (mut ids, mut keys, mut until, mut expired) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (section, is_old) in [("verify_keys", false), ("old_verify_keys", true)] {
            for (key_id, key) in self.response.get(section).and_then(Value::as_object).into_iter().flatten() {
                let text = key.get("key").and_then(Value::as_str);
                let valid = match is_old {
                    true => key.get("expired_ts").and_then(Value::as_i64),
                    false => Some(self.valid_until_ts),
                };
                let sound = |text: &&str| !key_id.contains('\0') && PublicKey::from_base64(text).is_ok();
                // A key that is listed both as current and as old is current.
                if let (Some(text), Some(valid)) = (text.filter(sound), valid)
                    && !ids.contains(key_id)
                {
                    ids.push(key_id.clone());
                    keys.push(text.to_owned());
                    until.push(valid);
                    expired.push(is_old);
                }
            }
        }
        self.keep_dropped(db, server_name, direct).await?;
        let response = Value::Object(self.response.clone()).to_string();
        let valid_until_ts = self.valid_until_ts;
        db.query(STORE, &[&server_name, &ids, &keys, &until, &expired, &valid_until_ts, &response, &direct])
            .await?;
        Ok(())
    }
}

impl ServerKeys {
    /// Keeps the stored answer for the keys in it that this one, which replaces it, does not have.
    async fn keep_dropped(&self, db: &Db, server_name: &str, direct: bool) -> Result<(), ApiError> {
        let Some(row) = db.query_opt(NEWEST, &[&server_name]).await? else { return Ok(()) };
        let (text, valid_until_ts): (String, i64) = (row.get("response"), row.get("valid_until_ts"));
        let stays = !direct && valid_until_ts > self.valid_until_ts;
        if stays || text.len() > MAX_DROPPED {
            return Ok(());
        }
        let older: Map<String, Value> = serde_json::from_str(&text).unwrap_or_default();
        let dropped: Vec<&String> = key_ids(&older)
            .filter(|key_id| !has_key(&self.response, key_id) && !key_id.contains('\0'))
            .collect();
        if !dropped.is_empty() {
            db.query(DROP, &[&server_name, &dropped, &text]).await?;
        }
        Ok(())
    }
}

fn key_ids(response: &Map<String, Value>) -> impl Iterator<Item = &String> {
    let sections = ["verify_keys", "old_verify_keys"].into_iter();
    sections.filter_map(|section| response.get(section)?.as_object()).flat_map(Map::keys)
}

/// Whether a server's answer has a key, in use or old.
pub fn has_key(response: &Map<String, Value>, key_id: &str) -> bool {
    key_ids(response).any(|known| known == key_id)
}

/// When a server's keys were last fetched, and whether that succeeded. Locked during a fetch.
type Slot = Arc<Mutex<Option<(Instant, bool)>>>;

/// Fetches other servers' keys; at most one fetch runs for each server. Cheap to clone.
#[derive(Clone)]
pub struct KeyRing {
    http: HttpClient,
    db: Db,
    servers: Cache<String, Slot>,
}

impl KeyRing {
    /// A key ring that has not fetched anything.
    pub fn new(http: HttpClient, db: Db) -> Self {
        let servers = bounded(MAX_SLOTS).time_to_live(FAILURE_LIFETIME).build();
        Self { http, db, servers }
    }

    /// A key that is valid for requests now. Fetches the server's keys if it is not stored or has expired.
    /// Past half of the time that it is valid, the keys are fetched in the background, so that a key that the
    /// server has ended since then does not go on to count.
    pub async fn request_key(
        &self,
        server_name: &str,
        key_id: &str,
    ) -> Result<Option<PublicKey>, FederationError> {
        if let Some((key, past_half)) = self.known(server_name, key_id).await? {
            if past_half {
                self.refresh(server_name);
            }
            return Ok(Some(key));
        }
        self.fetch(server_name).await?;
        Ok(self.known(server_name, key_id).await?.map(|(key, _)| key))
    }

    /// A stored key, and whether it is past half of the time that it is valid.
    async fn known(&self, server_name: &str, key_id: &str) -> Result<Option<(PublicKey, bool)>, ApiError> {
        let row = self.db.query_opt(FIND, &[&server_name, &key_id, &now_ts()]).await?;
        Ok(row.and_then(|row| {
            Some((PublicKey::from_base64(row.get("public_key")).ok()?, row.get("past_half")))
        }))
    }

    /// Starts to fetch a server's keys, unless they are being fetched.
    fn refresh(&self, server_name: &str) {
        let (ring, server_name) = (self.clone(), server_name.to_owned());
        if self.slot(&server_name).try_lock().is_err() {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = ring.fetch(&server_name).await {
                debug!(server_name, %error, "keys are not refreshed");
            }
        });
    }

    /// Fetches a server's keys from the server or, if that fails, from notaries, and stores them. Concurrent
    /// callers share one fetch. After a failure the server is not asked for [`FAILURE_LIFETIME`].
    pub async fn fetch(&self, server_name: &str) -> Result<(), FederationError> {
        let asked = Instant::now();
        let slot = self.slot(server_name);
        let mut last = slot.lock().await;
        match *last {
            Some((at, true)) if at > asked => return Ok(()),
            Some((at, false)) if at.elapsed() < FAILURE_LIFETIME => {
                return Err(FederationError::bad_answer(server_name, "it gave no good keys a moment ago"));
            }
            _ => {}
        }
        let fetched = self.fetch_now(server_name).await;
        *last = Some((Instant::now(), fetched.is_ok()));
        fetched
    }

    /// A slot may be forgotten during a fetch. Then another fetch may run beside it.
    fn slot(&self, server_name: &str) -> Slot {
        self.servers.entry_by_ref(server_name).or_default().into_value()
    }

    async fn fetch_now(&self, server_name: &str) -> Result<(), FederationError> {
        let error = match self.ask_server(server_name).await {
            Ok(keys) => return Ok(keys.store(&self.db, server_name, true).await?),
            Err(error) => error,
        };
        debug!(server_name, %error, "no keys from the server itself");
        for notary in self.http.notaries() {
            match Box::pin(self.ask_notary(notary, server_name)).await {
                Ok(keys) => return Ok(keys.store(&self.db, server_name, false).await?),
                Err(error) => debug!(server_name, notary, %error, "no keys from the notary"),
            }
        }
        Err(error)
    }

    async fn ask_server(&self, server_name: &str) -> Result<ServerKeys, FederationError> {
        let request = Request {
            method: Method::GET,
            destination: server_name,
            path: "/_matrix/key/v2/server",
            body: None,
            max_answer: MAX_ANSWER,
            timeout: TIMEOUT,
        };
        let response = self.http.send_unsigned(request).await?;
        ServerKeys::read(response.into(), server_name)
            .map_err(|reason| FederationError::bad_answer(server_name, reason))
    }

    /// Asks a notary. The answer counts if both the notary and the server have signed it.
    async fn ask_notary(&self, notary: &str, server_name: &str) -> Result<ServerKeys, FederationError> {
        if notary == server_name {
            return Err(FederationError::bad_answer(notary, "it would be its own notary"));
        }
        let name = encode(server_name);
        let minimum = now_ts() + 3_600_000;
        let request = Request {
            method: Method::GET,
            destination: notary,
            path: &format!("/_matrix/key/v2/query/{name}?minimum_valid_until_ts={minimum}"),
            body: None,
            max_answer: MAX_ANSWER,
            timeout: TIMEOUT,
        };
        let answer = self.http.send_unsigned(request).await?;
        let found = answer.get("server_keys").and_then(Value::as_array).into_iter().flatten();
        let mut reason = "it has no keys of that server";
        for keys in found.filter_map(Value::as_object) {
            let keys = match ServerKeys::read(keys.clone(), server_name) {
                Ok(keys) => keys,
                Err(why) => {
                    reason = why;
                    continue;
                }
            };
            let signatures = keys.response.get("signatures").and_then(|signatures| signatures.get(notary));
            let Some(key_id) = signatures.and_then(Value::as_object).and_then(|keys| keys.keys().next())
            else {
                reason = "the notary did not sign";
                continue;
            };
            let key = self.request_key(notary, key_id).await?;
            if verify_json(&keys.response, notary, |id| key.clone().filter(|_| id == key_id)).is_ok() {
                return Ok(keys);
            }
            reason = "the notary's signature is wrong";
        }
        Err(FederationError::bad_answer(notary, reason))
    }
}
