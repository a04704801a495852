//! What a local user is to be invited to: nothing, if the user blocks invites, and no more than a sync can
//! show.

use matriarch_rules::identifiers::server_name;
use serde_json::Value;

use crate::base::{
    account_data::{self, GLOBAL},
    response::{MatrixError, Result},
    spi::Db,
};

/// The type of global account data by which a user blocks invites. Client-Server API, "Invite permission".
pub const PERMISSION: &str = "m.invite_permission_config";

/// The most invites of one user that are pending. A sync may have to return them all.
const MAX_PENDING: i64 = 1000;
/// The most of them that one user sent, or users of one other server. Bridges invite to hundreds of rooms.
const MAX_OF_ONE: i64 = 500;
/// The most bytes of stripped state that other servers sent with them, and that one server sent.
const MAX_BYTES: i64 = 16 << 20;
const MAX_BYTES_OF_ONE: i64 = 8 << 20;

const STANDING: &str = "
    select u.user_nid, p.pending, p.of_sender, p.of_server, p.bytes, p.bytes_of_server
    from users u
    cross join lateral (
        select count(*) as pending, count(*) filter (where s.user_id = $2) as of_sender,
            count(*) filter (where s.server_name = $3) as of_server,
            coalesce(sum(i.bytes), 0)::bigint as bytes,
            coalesce(sum(i.bytes) filter (where s.server_name = $3), 0)::bigint as bytes_of_server
        from (
            (
                select sender_nid, 0 as bytes
                from memberships
                where user_nid = u.user_nid and membership = 'invite'
                limit $4
            )
            union all
            select sender_nid, bytes
            from out_of_band_memberships
            where user_nid = u.user_nid and membership = 'invite'
        ) i
        join users s on s.user_nid = i.sender_nid
    ) p
    where u.user_id = $1";

/// Checks that a local user can be invited. Users who do not exist can, so that the answer does not tell
/// whether they do.
///
/// # Errors
///
/// 403 `M_INVITE_BLOCKED` if the user blocks invites, 403 `M_FORBIDDEN` if too many are pending: of the
/// sender, of the sender's server, or of all.
pub fn admit(db: &Db<'_>, sender: &str, target: &str, is_remote: bool) -> Result<()> {
    let server = is_remote.then(|| server_name(sender)).flatten();
    let args = [target.into(), sender.into(), server.into(), MAX_PENDING.into()];
    let Some(row) = db.query_opt(STANDING, &args) else { return Ok(()) };
    if is_blocked(account_data::read(db, row.get("user_nid"), GLOBAL, PERMISSION).as_deref()) {
        return Err(MatrixError::new(403, "M_INVITE_BLOCKED", format!("{target} accepts no invites.")));
    }
    let is_full = |column: &str, most: i64| row.get::<i64>(column) >= most;
    if is_full("pending", MAX_PENDING)
        || is_full("of_sender", MAX_OF_ONE)
        || is_full("of_server", MAX_OF_ONE)
        || is_full("bytes", MAX_BYTES)
        || is_full("bytes_of_server", MAX_BYTES_OF_ONE)
    {
        return Err(MatrixError::forbidden(format!("{target} has too many invites that are pending.")));
    }
    Ok(())
}

/// Whether this account data of the type [`PERMISSION`] blocks invites.
pub fn is_blocked(content: Option<&str>) -> bool {
    let content: Option<Value> = content.and_then(|content| serde_json::from_str(content).ok());
    content.is_some_and(|content| content.get("default_action").and_then(Value::as_str) == Some("block"))
}
