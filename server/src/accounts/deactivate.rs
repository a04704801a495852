//! The end of an account.

use super::room_nids;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::database::{Db, call};
use crate::federation::base::Federation;
use crate::hub::Hub;

const LEAVE: &str = call!("matriarch.set_membership($1, $2, 'leave', '{}')");

/// Leaves the user's rooms, deletes its devices, tokens, keys and key backups, and closes the account for good. Its name is
/// never given out again. With `erase`, profile, account data and filters go as well.
///
/// `token` is one of the user's own: leaving is an event that the user sends. It is void afterwards. A room that
/// cannot be left keeps its member, and the log says so. `federation` asks the policy servers of rooms that use one; a
/// command, which has none, cannot leave those.
pub async fn deactivate(
    db: &Db,
    hub: &Hub,
    federation: Option<&Federation>,
    user_nid: i64,
    token: &AccessToken,
    erase: bool,
) -> Result<(), ApiError> {
    for row in db.query(include_str!("rooms.sql"), &[&user_nid]).await? {
        let room_id: &str = row.get("room_id");
        let response = db.call(LEAVE, &[&token.hash(), &room_id]).await?;
        hub.wake(&response.wake_rooms, &response.wake_users);
        let status = match federation {
            Some(federation) => {
                federation.sign(response).await.map_or_else(|error| error.status, |it| it.status)
            }
            None => response.status,
        };
        if !status.is_success() {
            tracing::warn!(room_id, status = status.as_u16(), "a deactivated user stays in a room");
        }
    }
    let mut rooms = room_nids(&db.query(include_str!("deactivate.sql"), &[&user_nid, &erase]).await?);
    // A login may have committed while that statement waited for it, unseen by it.
    let sql = include_str!("delete_devices.sql");
    rooms.extend(room_nids(&db.query(sql, &[&user_nid, &None::<i64>]).await?));
    hub.wake(&rooms, &[user_nid]);
    Ok(())
}
