//! The deprecated endpoints for syncing, which clients still use for previews of rooms.

pub mod events;
pub mod initial_sync;
