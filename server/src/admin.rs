//! Endpoints for administrators' tools.

use axum::Router;

use crate::state::AppState;

/// Every endpoint of the admin API.
pub fn routes() -> Router<AppState> {
    Router::new()
}
