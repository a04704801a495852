//! The Client-Server API: one file for each module of the specification.
//!
//! [`crate::http`] explains how to add an endpoint.

mod account;
mod account_data;
mod capabilities;
mod context;
mod dehydrated_devices;
mod device_management;
mod end_to_end_encryption;
mod event;
mod filter;
mod identifier;
mod key_backup;
mod login;
mod logout;
mod members;
mod messages;
mod old_sync;
mod presence;
mod profile;
mod push_rules;
mod read_marker;
mod receipt;
mod refresh;
mod register;
mod room_aliases;
mod room_creation;
mod room_directory;
mod room_membership;
mod room_state;
mod room_upgrades;
mod send;
mod send_to_device;
mod server_discovery;
mod spaces;
mod sync;
mod tags;
mod third_party_invites;
mod timestamp_to_event;
mod typing;
mod uia;
mod unprovided;
mod versions;
mod whois;

use axum::Router;

use crate::app::App;

/// Every endpoint of the Client-Server API.
pub fn routes() -> Router<App> {
    Router::new()
        .merge(account::routes())
        .merge(account_data::routes())
        .merge(capabilities::routes())
        .merge(context::routes())
        .merge(dehydrated_devices::routes())
        .merge(device_management::routes())
        .merge(end_to_end_encryption::routes())
        .merge(event::routes())
        .merge(filter::routes())
        .merge(key_backup::routes())
        .merge(login::routes())
        .merge(logout::routes())
        .merge(members::routes())
        .merge(messages::routes())
        .merge(old_sync::routes())
        .merge(presence::routes())
        .merge(profile::routes())
        .merge(push_rules::routes())
        .merge(read_marker::routes())
        .merge(receipt::routes())
        .merge(refresh::routes())
        .merge(register::routes())
        .merge(room_aliases::routes())
        .merge(room_creation::routes())
        .merge(room_directory::routes())
        .merge(room_membership::routes())
        .merge(room_state::routes())
        .merge(room_upgrades::routes())
        .merge(send::routes())
        .merge(send_to_device::routes())
        .merge(server_discovery::routes())
        .merge(spaces::routes())
        .merge(sync::routes())
        .merge(tags::routes())
        .merge(timestamp_to_event::routes())
        .merge(typing::routes())
        .merge(uia::routes())
        .merge(unprovided::routes())
        .merge(versions::routes())
        .merge(whois::routes())
}
