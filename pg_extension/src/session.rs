//! Who asks: access tokens.

use std::collections::HashMap;

use pgrx::pg_extern;
use serde_json::json;

use crate::{
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
    select u.user_nid, u.user_id, d.device_nid, d.device_id, coalesce(t.expires_at < now(), false)
    from access_tokens t
    join devices d using (device_nid)
    join users u on u.user_nid = t.user_nid
    where t.token_hash = $1";

const AUTHENTICATE_ALL: &str = "
    select u.user_nid, u.user_id, d.device_nid, d.device_id, coalesce(t.expires_at < now(), false), t.token_hash
    from access_tokens t
    join devices d using (device_nid)
    join users u on u.user_nid = t.user_nid
    where t.token_hash = any($1)";

const LOCK_DEVICE: &str = "select from devices where device_nid = $1 for no key update";

impl Session {
    /// Finds the owner of a token by its SHA-256. 401 `M_UNKNOWN_TOKEN` for one that is not known, and with
    /// `soft_logout` for one that has expired while its device lives on (Client-Server API, "Soft logout").
    pub fn authenticate(db: &Db<'_>, token_hash: &[u8]) -> Result<Self> {
        Self::of_row(db.query_opt(AUTHENTICATE, &[token_hash.into()]).as_ref())
    }

    /// The same for several tokens, in order and in one query.
    pub fn authenticate_all(db: &Db<'_>, token_hashes: &[&[u8]]) -> Vec<Result<Self>> {
        // An array costs more to plan for and to look up than the one token that there mostly is.
        if let [token_hash] = token_hashes {
            return vec![Self::authenticate(db, token_hash)];
        }
        let rows: HashMap<Vec<u8>, Row<'_>> = db
            .query(AUTHENTICATE_ALL, &[token_hashes.to_vec().into()])
            .map(|row| (row.get(6), row))
            .collect();
        token_hashes.iter().map(|token_hash| Self::of_row(rows.get(*token_hash))).collect()
    }

    fn of_row(row: Option<&Row<'_>>) -> Result<Self> {
        let row = row.ok_or_else(Self::unknown)?;
        if row.get::<bool>(5) {
            let expired = MatrixError::new(401, "M_UNKNOWN_TOKEN", "The access token has expired.");
            return Err(expired.with("soft_logout", true));
        }
        Ok(Self { user_nid: row.get(1), user_id: row.get(2), device_nid: row.get(3), device_id: row.get(4) })
    }

    /// 401 `M_UNKNOWN_TOKEN`: there is no such token, or no longer.
    pub fn unknown() -> MatrixError {
        MatrixError::new(401, "M_UNKNOWN_TOKEN", "The access token is not known.")
    }

    /// 403 `M_FORBIDDEN` unless the user named in the request's path is the one who asks.
    pub fn require_self(&self, user_id: &str) -> Result<()> {
        if self.user_id == user_id {
            Ok(())
        } else {
            Err(MatrixError::forbidden("The access token belongs to another user."))
        }
    }

    /// Makes the user's other changes of this kind wait until this transaction is over, so that what is read now is
    /// still so when the result is written. Room locks are taken before.
    pub fn lock_user(&self, db: &Db<'_>) {
        db.execute("select from users where user_nid = $1 for no key update", &[self.user_nid.into()]);
    }

    /// Makes the device's other changes of this kind wait, and keeps the device, until this transaction is over. 401
    /// `M_UNKNOWN_TOKEN` if it was deleted since the token was looked up.
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
