//! Rooms examined: their derived data explained, computed again, and put right.

pub mod check_auth;
pub mod event_fields;
pub mod explain;
pub mod repair;
pub mod verify;
