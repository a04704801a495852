//! Other servers: the server-server API, and this server as a client of theirs.

mod addresses;
mod authentication;
mod client;
mod discovery;
pub mod end_to_end_keys;
mod key_queries;
mod keys;
pub mod queries;
mod version;
mod well_known;
mod x_matrix;

use axum::Router;

use crate::config::Config;
use crate::failure::Failure;
use crate::state::AppState;

use client::{Client, FederationError};
use keys::KeyRing;

/// What is needed to deal with other servers. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    pub client: Client,
    pub key_ring: KeyRing,
}

impl Federation {
    /// Reads certificates and the system's DNS configuration.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(config)?, key_ring: KeyRing::default() })
    }
}

/// Every endpoint of the server-server API.
pub fn routes() -> Router<AppState> {
    Router::new()
        .merge(keys::routes())
        .merge(end_to_end_keys::routes())
        .merge(key_queries::routes())
        .merge(queries::routes())
        .merge(version::routes())
}
