//! Federation: what other servers ask of this one (`api`), and what this server asks of them and sends to
//! them.

pub mod api;
pub mod device_lists;
pub mod key_queries;
pub mod outgoing;
pub mod partial_joins;
pub mod policy_servers;
pub mod remote_invites;
pub mod remote_membership;
pub mod remote_users;
pub mod server_keys;
