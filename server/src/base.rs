//! The lowest floor: errors, metrics, caches and other helpers that use no other module.

pub mod access_token;
pub mod cache;
pub mod current_request;
pub mod error;
pub mod failure;
pub mod json_response;
pub mod metrics;
pub mod percent;
pub mod permits;
pub mod raw_object;
pub mod statements;
