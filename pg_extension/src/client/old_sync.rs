//! The deprecated ways to sync, still in use for previews of rooms.

pub mod events;
pub mod initial_sync;
