//! Other servers: this server as a client of theirs, the work in the background, and the server-server API ([`api`]).
//!
//! Services take [`base::Federation`], which knows none of them. A file of the same name in [`api`] is the other
//! direction: what other servers ask of this one.

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
pub mod queries;
pub mod remote_invites;
pub mod remote_membership;
mod server_keys;
mod state_downloads;
pub mod third_party_invites;
