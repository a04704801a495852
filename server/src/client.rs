//! The client-server API: one file for each module of the specification.
//!
//! How to add an endpoint is told in [`crate::http`].

mod capabilities;
mod server_discovery;
mod versions;

use axum::Router;

use crate::state::AppState;

/// Every endpoint of the client-server API.
pub fn routes() -> Router<AppState> {
    Router::new().merge(capabilities::routes()).merge(server_discovery::routes()).merge(versions::routes())
}
