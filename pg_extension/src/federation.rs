//! What other servers ask of the rooms that this one is in. Server-Server API; who asks, the API node has verified.

mod asked_room;
mod auth_chain;
mod backfilling;
mod hierarchy;
mod inviting;
mod membership_templates;
mod partial_state;
mod pdus;
mod retrieving_events;
mod sent_memberships;
mod server_reader;
mod third_party_invites;
mod timestamp;
