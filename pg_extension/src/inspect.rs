//! Functions for administrators: they explain a room's derived data, compute it again, and repair it.

pub mod check_auth;
pub mod event_fields;
pub mod explain;
pub mod repair;
pub mod verify;
