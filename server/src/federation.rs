//! Federation: requests to other servers, background work, and the Server-Server API ([`api`]).
//!
//! All services use [`base::Federation`], which depends on none of them. A file here that has a namesake in
//! [`api`] makes the requests that its namesake answers.

pub mod api;
pub mod base;
pub mod device_lists;
pub mod end_to_end_keys;
pub mod hierarchy;
pub mod history;
pub mod http_client;
pub mod inbound;
mod intake;
mod leased_work;
pub mod outgoing;
pub mod partial_joins;
pub mod policy_servers;
pub mod profiles;
pub mod queries;
pub mod remote_invites;
pub mod remote_membership;
mod server_keys;
mod state_downloads;
pub mod third_party_invites;
mod turns;
