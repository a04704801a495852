//! The end of an account.

use super::room_nids;
use crate::db::Db;
use crate::error::ApiError;
use crate::federation::policy_servers;
use crate::http::AccessToken;
use crate::hub::Hub;
use crate::state::AppState;

const LEAVE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.set_membership($1, $2, 'leave', '{}')";

/// Leaves the user's rooms, deletes its devices, tokens, keys and key backups, and closes the account for good. Its name is
/// never given out again. With `erase`, profile, account data and filters go as well.
///
/// `token` is one of the user's own: leaving is an event that the user sends. It is void afterwards. A room that
/// cannot be left keeps its member, and the log says so. `app` asks the policy servers of rooms that use one; a command, which
/// has none, cannot leave those.
pub async fn deactivate(
    db: &Db,
    hub: &Hub,
    app: Option<&AppState>,
    user_nid: i64,
    token: &AccessToken,
    erase: bool,
) -> Result<(), ApiError> {
    for row in db.query(include_str!("rooms.sql"), &[&user_nid]).await? {
        let room_id: &str = row.get("room_id");
        let response = db.call(LEAVE, &[&token.hash(), &room_id]).await?;
        hub.wake(&response.wake_rooms, &response.wake_users);
        let status = match app {
            Some(app) => policy_servers::complete(app, response)
                .await
                .map_or_else(|error| error.status, |it| it.status),
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
