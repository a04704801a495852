//! The Server-Server API: one file for each module of the specification.

mod authentication;
mod backfilling;
mod end_to_end_keys;
mod hierarchy;
mod inviting;
mod make_membership;
mod queries;
mod retrieving_events;
mod send_membership;
mod server_keys;
mod third_party_invites;
mod timestamp_to_event;
mod transactions;
mod version;

use axum::Router;

use crate::app::App;

/// Every endpoint of the Server-Server API.
pub fn routes() -> Router<App> {
    Router::new()
        .merge(backfilling::routes())
        .merge(end_to_end_keys::routes())
        .merge(hierarchy::routes())
        .merge(inviting::routes())
        .merge(make_membership::routes())
        .merge(queries::routes())
        .merge(retrieving_events::routes())
        .merge(send_membership::routes())
        .merge(server_keys::routes())
        .merge(third_party_invites::routes())
        .merge(timestamp_to_event::routes())
        .merge(transactions::routes())
        .merge(version::routes())
}
