//! Accounts, devices and tokens: what the endpoints of `client/` and `admin/` and the command line share.
//!
//! Each step is one SQL statement, in `accounts/*.sql`. Tokens are stored as SHA-256 hashes.

pub mod create;
pub mod deactivate;
pub mod first_use;
pub mod last_seen;
pub mod names;
pub mod nonce;
pub mod password;
pub mod session;
pub mod tokens;

use tokio_postgres::Row;

use crate::base::error::ApiError;
use crate::database::Db;
use crate::hub::Hub;

/// The longest device id, in bytes.
const MAX_DEVICE_ID: usize = 255;

/// The longest display name of a device, in bytes.
const MAX_DEVICE_NAME: usize = 1024;

/// Checks what a client says of its device: 400 `M_INVALID_PARAM`.
pub fn check_device(device_id: Option<&str>, display_name: Option<&str>) -> Result<(), ApiError> {
    let given = [
        ("device_id", device_id, MAX_DEVICE_ID),
        ("initial_device_display_name", display_name, MAX_DEVICE_NAME),
    ];
    for (name, value, max) in given {
        match value {
            Some(value) if value.len() > max => {
                return Err(ApiError::invalid_param(format!("{name} is longer than {max} bytes")));
            }
            Some(value) if value.contains('\0') => {
                return Err(ApiError::invalid_param(format!("{name} holds a NUL character")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The rooms that have news because devices were deleted: `room_nids` of the rows of a statement.
pub fn room_nids(rows: &[Row]) -> Vec<i64> {
    rows.iter().filter_map(|row| row.get::<_, Option<Vec<i64>>>("room_nids")).flatten().collect()
}

/// Gives an account a new password, and logs out its devices other than `keep` if `logout_devices` is set.
///
/// False when there is no such account, or it is deactivated; 400 for a password that cannot be taken.
pub async fn set_password(
    db: &Db,
    hub: &Hub,
    user_nid: i64,
    new_password: &str,
    logout_devices: bool,
    keep: Option<i64>,
) -> Result<bool, ApiError> {
    let hash = password::hash(new_password).await?;
    let sql = include_str!("accounts/set_password.sql");
    let rows = db.query(sql, &[&user_nid, &hash, &logout_devices, &keep]).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let mut rooms = room_nids(&rows);
    if logout_devices {
        // A login by the old password may have committed while that statement waited for it, unseen by it.
        let sql = include_str!("accounts/delete_devices.sql");
        rooms.extend(room_nids(&db.query(sql, &[&user_nid, &keep]).await?));
    }
    // Waiting syncs ask again, and those of the devices that are gone learn it.
    hub.wake(&rooms, &[user_nid]);
    Ok(true)
}
