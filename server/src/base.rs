//! The lowest floor: errors, metrics, caches and other helpers that use no other module.

pub mod access_token;
pub mod buckets;
pub mod cache;
pub mod current_request;
pub mod error;
pub mod failure;
pub mod json_response;
pub mod json_size;
pub mod limit;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod percent;
pub mod permits;
pub mod raw_object;
pub mod statements;
