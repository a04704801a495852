//! Endpoints for administrators and their tools.

pub mod monitoring;
mod register;

use axum::Router;

use crate::app::App;

/// Every endpoint of the admin API.
pub fn routes() -> Router<App> {
    register::routes()
}
