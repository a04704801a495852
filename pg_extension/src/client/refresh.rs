//! Refresh tokens that are not valid any more. Client-Server API, "Refreshing access tokens".

use pgrx::{iter::TableIterator, pg_extern};

use crate::base::{
    connection::connect,
    response::{MatrixError, ResponseRows},
    spi::{Db, Mode},
};

const LOCK_DEVICE: &str = "
    select d.device_nid, d.user_nid
    from revoked_refresh_tokens r
    join devices d using (device_nid)
    where r.token_hash = $1
    for update of d";

const WAS_USED: &str = "select was_used from revoked_refresh_tokens where token_hash = $1";

/// Access tokens are kept as expired ones, so that the client learns that its device still exists.
const END: &str = "
    with refresh_tokens as (
        delete from refresh_tokens
        where device_nid = $1
        returning token_hash, device_nid
    ),
    revoked as (
        insert into revoked_refresh_tokens (token_hash, device_nid, was_used)
        select token_hash, device_nid, false
        from refresh_tokens
    )
    update access_tokens
    set expires_at = '-infinity'
    where device_nid = $1 and expires_at is distinct from '-infinity'";

/// Why a token is not valid.
enum Fate {
    /// It never existed, or its device was deleted.
    Unknown,
    /// It was revoked without being used, or all tokens of its device were.
    Revoked,
    /// It was used before, so all tokens of its device were revoked now.
    Replayed { user_nid: i64 },
}

fn judge(db: &Db<'_>, token_hash: &[u8]) -> Fate {
    // Refreshes lock the device too, so that after the lock their writes are visible.
    let Some(device) = db.query_opt(LOCK_DEVICE, &[token_hash.into()]) else { return Fate::Unknown };
    match db.query_opt(WAS_USED, &[token_hash.into()]).map(|row| row.get("was_used")) {
        // There was a new login on the device meanwhile.
        None => Fate::Unknown,
        Some(false) => Fate::Revoked,
        Some(true) => {
            db.execute(END, &[device.get::<i64>("device_nid").into()]);
            Fate::Replayed { user_nid: device.get("user_nid") }
        }
    }
}

/// `POST /refresh`, for a token that is not valid
///
/// 401 `M_UNKNOWN_TOKEN`, with `soft_logout` if the token's device still exists. If the token was used
/// before, it may be stolen: all tokens of its device are revoked, and waiting syncs end.
#[pg_extern(volatile)]
fn refuse_refresh(token_hash: &[u8]) -> ResponseRows {
    let fate = connect(Mode::Write, |db| judge(db, token_hash));
    let refusal = MatrixError::new(401, "M_UNKNOWN_TOKEN", "The refresh token is not good.");
    let (refusal, wake_users) = match fate {
        Fate::Unknown => (refusal, None),
        Fate::Revoked => (refusal.with("soft_logout", true), None),
        Fate::Replayed { user_nid } => (refusal.with("soft_logout", true), Some(vec![user_nid])),
    };
    TableIterator::once((refusal.status, None, refusal.body(), None, wake_users))
}
