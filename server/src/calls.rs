//! Calls of the database that combine many requests into one statement.

pub mod acknowledge;
pub mod batcher;
pub mod presence;
pub mod send;
pub mod sync;
