//! What everything else stands on, and knows nothing of a database or of requests.

pub mod access_token;
pub mod cache;
pub mod current_request;
pub mod error;
pub mod failure;
pub mod json_response;
pub mod metrics;
pub mod percent;
pub mod permits;
pub mod statements;
