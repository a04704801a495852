//! The lowest floor: SQL statements from inside the backend, sessions, tokens, requests and responses.

pub mod account_data;
pub mod cache;
pub mod connection;
pub mod generation;
pub mod ids;
pub mod initialize;
mod jsonb;
pub mod lookup;
pub mod request;
pub mod response;
pub mod session;
pub mod signing;
pub mod spi;
pub mod token;
pub mod users;
