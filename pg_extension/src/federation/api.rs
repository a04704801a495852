//! Endpoints of the Server-Server API about rooms, users and keys of this server. The API node has
//! authenticated the origin.

mod asked_room;
mod auth_chain;
mod backfilling;
mod end_to_end_keys;
mod hierarchy;
mod inviting;
mod make_membership;
mod partial_state;
mod pdus;
mod retrieving_events;
mod send_membership;
pub mod server_keys;
mod server_reader;
mod third_party_invites;
mod timestamp_to_event;
pub mod transactions;
