//! Client-Server API, "End-to-End Encryption". Backups of room keys are in `key_backup.rs`.

mod cross_signing;
mod device_lists;
mod keys;

use axum::Router;

use crate::app::App;

/// The routes of this module.
pub fn routes() -> Router<App> {
    keys::routes().merge(device_lists::routes()).merge(cross_signing::routes())
}
