//! Calls of the database that are made together: many requests, one statement.

pub mod acknowledge;
pub mod batcher;
pub mod presence;
pub mod send;
pub mod sync;
