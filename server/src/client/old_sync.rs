//! The deprecated endpoints that `/sync` replaced.

mod events;
mod initial_sync;

use axum::Router;

use crate::app::App;

/// The routes of this module.
pub fn routes() -> Router<App> {
    events::routes().merge(initial_sync::routes())
}
