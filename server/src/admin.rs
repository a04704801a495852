//! Endpoints for administrators' tools.

mod register;

use axum::Router;

use crate::state::AppState;

/// Every endpoint of the admin API.
pub fn routes() -> Router<AppState> {
    register::routes()
}
