//! Sessions: the user and device that an access token stands for.

use std::collections::HashMap;

use pgrx::pg_extern;
use serde_json::json;

use crate::base::{
    cache::Cache,
    response::{MatrixError, Response, ResponseRows, Result, respond},
    spi::{Db, Mode, Row},
    users::User,
};

/// The owner of an access token.
#[derive(Debug, Clone)]
pub struct Session {
    pub user_nid: i64,
    pub user_id: String,
    pub device_nid: i64,
    pub device_id: String,
}

const AUTHENTICATE: &str = "
    select u.user_nid, u.user_id, d.device_nid, d.device_id,
        coalesce(t.expires_at < now(), false) as is_expired
    from access_tokens t
    join devices d using (device_nid)
    join users u on u.user_nid = t.user_nid
    where t.token_hash = $1";

const AUTHENTICATE_ALL: &str = "
    select u.user_nid, u.user_id, d.device_nid, d.device_id,
        coalesce(t.expires_at < now(), false) as is_expired,
        t.token_hash
    from access_tokens t
    join devices d using (device_nid)
    join users u on u.user_nid = t.user_nid
    where t.token_hash = any($1)";

/// For a cached session: its ids, to compare, and whether the token has expired.
const CHECK: &str = "
    select user_nid, device_nid, coalesce(expires_at < now(), false) as is_expired
    from access_tokens
    where token_hash = $1";

const CHECK_ALL: &str = "
    select user_nid, device_nid, coalesce(expires_at < now(), false) as is_expired, token_hash
    from access_tokens
    where token_hash = any($1)";

/// How many sessions a backend remembers.
const MAX_KNOWN: usize = 10_000;

thread_local! {
    /// Sessions by the SHA-256 of their access token. Ids of users and devices never change; each request
    /// still checks that the token exists and has not expired.
    static KNOWN: Cache<Vec<u8>, Session> = Cache::new(MAX_KNOWN);
}

const LOCK_DEVICE: &str = "select from devices where device_nid = $1 for no key update";

impl Session {
    /// Finds the owner of a token by its SHA-256. 401 `M_UNKNOWN_TOKEN` for one that is not known, and with
    /// `soft_logout` for one that has expired while its device lives on (Client-Server API, "Soft logout").
    pub fn authenticate(db: &Db<'_>, token_hash: &[u8]) -> Result<Self> {
        if let Some(known) = Self::recall(token_hash) {
            let row = db.query_opt(CHECK, &[token_hash.into()]).ok_or_else(Self::unknown)?;
            if known.matches(&row) {
                return known.unless_expired(row.get("is_expired"));
            }
        }
        Self::of_row(token_hash, db.query_opt(AUTHENTICATE, &[token_hash.into()]).as_ref())
    }

    /// As [`authenticate`](Self::authenticate), for several tokens in one query. The results are in the same
    /// order.
    pub fn authenticate_all(db: &Db<'_>, token_hashes: &[&[u8]]) -> Vec<Result<Self>> {
        // Mostly there is one token, which costs less to plan for and to look up than an array.
        if let [token_hash] = token_hashes {
            return vec![Self::authenticate(db, token_hash)];
        }
        Self::check_all(db, token_hashes).unwrap_or_else(|| {
            let rows: HashMap<Vec<u8>, Row<'_>> = db
                .query(AUTHENTICATE_ALL, &[token_hashes.to_vec().into()])
                .map(|row| (row.get("token_hash"), row))
                .collect();
            token_hashes.iter().map(|token_hash| Self::of_row(token_hash, rows.get(*token_hash))).collect()
        })
    }

    /// Authenticates tokens whose sessions are all cached; `None` if one is not, or no longer matches its
    /// row.
    fn check_all(db: &Db<'_>, token_hashes: &[&[u8]]) -> Option<Vec<Result<Self>>> {
        let known: Vec<Self> = token_hashes.iter().map(|hash| Self::recall(hash)).collect::<Option<_>>()?;
        let rows: HashMap<Vec<u8>, Row<'_>> = db
            .query(CHECK_ALL, &[token_hashes.to_vec().into()])
            .map(|row| (row.get("token_hash"), row))
            .collect();
        known
            .into_iter()
            .zip(token_hashes)
            .map(|(known, token_hash)| match rows.get(*token_hash) {
                None => Some(Err(Self::unknown())),
                Some(row) => known.matches(row).then(|| known.unless_expired(row.get("is_expired"))),
            })
            .collect()
    }

    fn recall(token_hash: &[u8]) -> Option<Self> {
        KNOWN.with(|known| known.get(token_hash))
    }

    /// Whether a row of [`CHECK`] names this user and device.
    fn matches(&self, row: &Row<'_>) -> bool {
        (self.user_nid, self.device_nid) == (row.get("user_nid"), row.get("device_nid"))
    }

    fn of_row(token_hash: &[u8], row: Option<&Row<'_>>) -> Result<Self> {
        let row = row.ok_or_else(Self::unknown)?;
        let session = Self {
            user_nid: row.get("user_nid"),
            user_id: row.get("user_id"),
            device_nid: row.get("device_nid"),
            device_id: row.get("device_id"),
        };
        KNOWN.with(|known| known.put(token_hash.to_vec(), session.clone()));
        session.unless_expired(row.get("is_expired"))
    }

    fn unless_expired(self, expired: bool) -> Result<Self> {
        if expired {
            let error = MatrixError::new(401, "M_UNKNOWN_TOKEN", "The access token has expired.");
            Err(error.with("soft_logout", true))
        } else {
            Ok(self)
        }
    }

    /// 401 `M_UNKNOWN_TOKEN`: the token does not exist, or was deleted.
    pub fn unknown() -> MatrixError {
        MatrixError::new(401, "M_UNKNOWN_TOKEN", "The access token is not known.")
    }

    /// 403 `M_FORBIDDEN` unless `user_id`, from the request's path, is the session's user.
    pub fn require_self(&self, user_id: &str) -> Result<()> {
        if self.user_id == user_id {
            Ok(())
        } else {
            Err(MatrixError::forbidden("The access token belongs to another user."))
        }
    }

    /// Locks the user's row until this transaction ends. Requests that read, decide and write take this lock,
    /// so that two of them do not overwrite each other's result. Take rooms' locks before it.
    pub fn lock_user(&self, db: &Db<'_>) {
        db.execute("select from users where user_nid = $1 for no key update", &[self.user_nid.into()]);
    }

    /// As [`lock_user`](Self::lock_user), for the device's row, which cannot be deleted until this
    /// transaction ends. 401 `M_UNKNOWN_TOKEN` if it was deleted since the token was looked up.
    pub fn lock_device(&self, db: &Db<'_>) -> Result<()> {
        let device = db.query_opt(LOCK_DEVICE, &[self.device_nid.into()]);
        device.map(|_| ()).ok_or_else(Self::unknown)
    }

    /// The user alone.
    pub fn user(&self) -> User {
        User { nid: self.user_nid, id: self.user_id.clone() }
    }
}

/// `GET /account/whoami`
#[pg_extern(stable)]
fn whoami(token_hash: &[u8]) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let body = json!({ "user_id": session.user_id, "device_id": session.device_id, "is_guest": false });
        Ok(Response::json(&body))
    })
}
