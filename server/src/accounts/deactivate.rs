//! Deactivates accounts.

use super::room_nids;
use crate::base::access_token::AccessToken;
use crate::base::error::ApiError;
use crate::database::{Db, call};
use crate::federation::base::Federation;
use crate::hub::Hub;

const LEAVE: &str = call!("matriarch.set_membership($1, $2, 'leave', '{}')");

/// Leaves the user's rooms, deletes the devices, tokens, keys and key backups, and closes the account for
/// good. Its name is never given out again. With `erase`, also deletes profile, account data and filters.
///
/// `token` is a token of the user, who sends the leave events; it is invalid afterwards. If a room cannot be
/// left, the user stays a member, and the log says so. `federation` asks the policy servers of rooms; without
/// it (in a command), rooms that have one cannot be left.
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
    // The statement may have waited for a login, and does not see the device that the login added.
    let sql = include_str!("delete_devices.sql");
    rooms.extend(room_nids(&db.query(sql, &[&user_nid, &None::<i64>]).await?));
    hub.wake(&rooms, &[user_nid]);
    Ok(())
}
