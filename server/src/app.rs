//! The application state that handlers share.

use std::ops::Deref;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use crate::accounts::last_seen::LastSeen;
use crate::accounts::rates::Rates;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::base::memory::Memory;
use crate::calls::acknowledge::Acknowledgements;
use crate::calls::presence::Presence;
use crate::calls::send::{self, Sends};
use crate::calls::sync::Syncs;
use crate::config::Config;
use crate::database::{Db, MatrixResponse};
use crate::federation::base::Federation;
use crate::federation::device_lists::DeviceLists;
use crate::federation::hierarchy::Hierarchies;
use crate::federation::history::{self, History};
use crate::federation::inbound::Inbound;
use crate::federation::outgoing::Outgoing;
use crate::federation::partial_joins::PartialJoins;
use crate::hub::Hub;

/// The application state of a node. It holds nothing lasting that the database does not have. axum clones it
/// several times for each request, so a clone is one more reference.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// The parts of [`App`].
pub struct Shared {
    pub config: Arc<Config>,
    pub db: Db,
    pub hub: Hub,
    /// The budget of memory for what others send.
    pub memory: Memory,
    /// The buckets of attempts.
    pub rates: Rates,
    /// The batcher of sends.
    pub sends: Sends,
    pub syncs: Syncs,
    /// The batcher of acknowledged send-to-device messages.
    pub acknowledgements: Acknowledgements,
    /// The devices that were seen recently.
    pub last_seen: LastSeen,
    pub presence: Presence,
    /// The basis of all federation services.
    pub federation: Federation,
    /// Sends federation transactions.
    pub outgoing: Outgoing,
    /// Puts staged events through intake.
    pub inbound: Inbound,
    /// Fetches stale device lists.
    pub device_lists: DeviceLists,
    /// Fills gaps of rooms' history.
    pub history: History,
    /// Makes partial rooms whole.
    pub partial_joins: PartialJoins,
    /// Other servers' answers about spaces.
    pub hierarchies: Hierarchies,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl App {
    /// The state of a node that uses this database.
    pub fn new(config: Config, db: Db, hub: Hub) -> Result<Self, Failure> {
        let config = Arc::new(config);
        let memory = Memory::new(config.limits.max_memory);
        let federation = Federation::new(Arc::clone(&config), db.clone(), hub.clone(), memory.clone())?;
        Ok(Self(Arc::new(Shared {
            memory,
            rates: Rates::new(&config.rate_limits),
            sends: send::batcher(db.clone(), hub.clone()),
            syncs: Syncs::new(db.clone()),
            acknowledgements: Acknowledgements::new(db.clone()),
            last_seen: LastSeen::default(),
            presence: Presence::new(config.presence.enabled, db.clone(), hub.clone()),
            outgoing: Outgoing::new(federation.clone()),
            inbound: Inbound::new(federation.clone()),
            device_lists: DeviceLists::new(federation.clone()),
            history: History::new(federation.clone()),
            partial_joins: PartialJoins::new(federation.clone()),
            hierarchies: Hierarchies::new(federation.clone()),
            federation,
            config,
            db,
            hub,
        })))
    }

    /// Fetches a missing event from other servers. Returns whether to query the database again.
    pub async fn fetch_event(&self, room_id: &str, event_id: &str) -> bool {
        let deadline = Instant::now() + history::TIMEOUT;
        self.federation.is_enabled() && self.history.fetch_event(room_id, event_id, deadline).await
    }

    /// Serves a request with one statement, as [`Federation::call`] does.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        self.federation.call(sql, params).await
    }
}
