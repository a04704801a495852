//! Other servers: the server-server API, and this server as a client of theirs.

mod addresses;
mod arrival;
mod authentication;
mod backfilling;
mod client;
mod device_lists;
mod discovery;
pub mod end_to_end_keys;
pub mod hierarchy;
pub mod history;
mod inbound;
pub mod intake;
mod invited;
pub mod inviting;
mod key_queries;
mod keys;
pub mod membership;
pub mod partial_joins;
pub mod policy_servers;
pub mod queries;
mod resident;
mod retrieving_events;
mod sender;
mod state_answer;
pub mod third_party_invites;
mod transactions;
mod version;
mod well_known;
mod x_matrix;

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::failure::Failure;
use crate::state::AppState;

pub use client::FederationError;

use client::Client;
use device_lists::DeviceLists;
use hierarchy::Hierarchies;
use history::History;
use inbound::Inbound;
use keys::KeyRing;
use partial_joins::PartialJoins;
use policy_servers::PolicyServers;
use sender::Sender;

/// Mebibytes of long answers that a node awaits at the same time: whole states, auth chains.
const LONG_ANSWERS: usize = 256;
/// Long requests of other servers that a node works on at the same time.
const LONG_BODIES: usize = 3;

/// What is needed to deal with other servers. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    pub client: Client,
    pub key_ring: KeyRing,
    pub sender: Sender,
    /// Permits to await long answers of other servers, one for each mebibyte.
    pub long_answers: Arc<Semaphore>,
    /// Long requests that may be worked on at the same time.
    pub long_bodies: Arc<Semaphore>,
    pub inbound: Inbound,
    pub device_lists: DeviceLists,
    pub history: History,
    pub partial_joins: PartialJoins,
    pub hierarchies: Hierarchies,
    pub policy_servers: PolicyServers,
}

impl Federation {
    /// Reads certificates and the system's DNS configuration.
    pub fn new(config: &Config) -> Result<Self, Failure> {
        let client = Client::new(config)?;
        Ok(Self {
            sender: Sender::new(client.clone()),
            client,
            key_ring: KeyRing::default(),
            long_answers: Arc::new(Semaphore::new(LONG_ANSWERS)),
            long_bodies: Arc::new(Semaphore::new(LONG_BODIES)),
            inbound: Inbound::default(),
            device_lists: DeviceLists::default(),
            history: History::default(),
            partial_joins: PartialJoins::default(),
            hierarchies: Hierarchies::default(),
            policy_servers: PolicyServers::default(),
        })
    }
}

/// Every endpoint of the server-server API.
pub fn routes() -> Router<AppState> {
    Router::new()
        .merge(keys::routes())
        .merge(end_to_end_keys::routes())
        .merge(key_queries::routes())
        .merge(queries::routes())
        .merge(retrieving_events::routes())
        .merge(backfilling::routes())
        .merge(hierarchy::routes())
        .merge(transactions::routes())
        .merge(resident::routes())
        .merge(invited::routes())
        .merge(third_party_invites::routes())
        .merge(version::routes())
}
