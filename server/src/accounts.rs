//! Accounts, devices and tokens, for the endpoints of `client/` and `admin/` and the command line.
//!
//! Each step is one SQL statement, in `accounts/*.sql`. Tokens are stored as SHA-256 hashes.

pub mod create;
pub mod deactivate;
pub mod first_use;
pub mod last_seen;
pub mod names;
pub mod nonce;
pub mod password;
pub mod rates;
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

/// Checks a client's device id and display name. Fails with 400 `M_INVALID_PARAM`.
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

/// The rooms to wake after devices were deleted: `room_nids` of the rows of a statement.
pub fn room_nids(rows: &[Row]) -> Vec<i64> {
    rows.iter().filter_map(|row| row.get::<_, Option<Vec<i64>>>("room_nids")).flatten().collect()
}

/// Sets an account's password. If `logout_devices` is set, logs out its devices other than `keep`.
///
/// Returns false if there is no such account or it is deactivated. Fails with 400 for an invalid password.
pub async fn set_password(
    db: &Db,
    hub: &Hub,
    user_nid: i64,
    new_password: &str,
    logout_devices: bool,
    keep: Option<i64>,
) -> Result<bool, ApiError> {
    let hash = password::hash(new_password, &user_nid.to_string()).await?;
    let sql = include_str!("accounts/set_password.sql");
    let rows = db.query(sql, &[&user_nid, &hash, &logout_devices, &keep]).await?;
    if rows.is_empty() {
        return Ok(false);
    }
    let mut rooms = room_nids(&rows);
    if logout_devices {
        // The statement may have waited for a login with the old password, and does not see the device that
        // it added.
        let sql = include_str!("accounts/delete_devices.sql");
        rooms.extend(room_nids(&db.query(sql, &[&user_nid, &keep]).await?));
    }
    // Waiting syncs run again, and those of the deleted devices fail.
    hub.wake(&rooms, &[user_nid]);
    Ok(true)
}
