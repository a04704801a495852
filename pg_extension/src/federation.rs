//! This server among others: what they ask of it (`api`), and what it asks of them.

pub mod api;
pub mod device_lists;
pub mod key_queries;
pub mod outgoing;
pub mod partial_joins;
pub mod policy_servers;
pub mod remote_invites;
pub mod remote_membership;
pub mod remote_users;
