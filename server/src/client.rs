//! The client-server API: one file for each module of the specification.
//!
//! How to add an endpoint is told in [`crate::http`].

mod account_data;
mod capabilities;
mod directory;
mod filter;
mod profile;
mod push_rules;
mod read_marker;
mod receipt;
mod server_discovery;
mod tags;
mod typing;
mod unprovided;
mod versions;

use axum::Router;

use crate::state::AppState;

/// Every endpoint of the client-server API.
pub fn routes() -> Router<AppState> {
    Router::new()
        .merge(account_data::routes())
        .merge(capabilities::routes())
        .merge(directory::routes())
        .merge(filter::routes())
        .merge(profile::routes())
        .merge(push_rules::routes())
        .merge(read_marker::routes())
        .merge(receipt::routes())
        .merge(server_discovery::routes())
        .merge(tags::routes())
        .merge(typing::routes())
        .merge(unprovided::routes())
        .merge(versions::routes())
}
