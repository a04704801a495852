//! The node: what handlers share.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use crate::accounts::last_seen::LastSeen;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::calls::acknowledge::Acknowledgements;
use crate::calls::presence::Presence;
use crate::calls::send::{self, Sends};
use crate::calls::sync::{self, Syncs};
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

/// The node: cheap to clone, and without any state that the database does not have.
#[derive(Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub db: Db,
    pub hub: Hub,
    /// Events on their way into rooms.
    pub sends: Sends,
    /// Syncs on their way to the database.
    pub syncs: Syncs,
    /// Send-to-device messages that devices have got.
    pub acknowledgements: Acknowledgements,
    /// Whose requests were served lately.
    pub last_seen: LastSeen,
    pub presence: Presence,
    /// Other servers.
    pub federation: Federation,
    /// Events and EDUs on their way to other servers.
    pub outgoing: Outgoing,
    /// Events of other servers on their way into rooms.
    pub inbound: Inbound,
    /// Other servers' device lists of which updates are missing.
    pub device_lists: DeviceLists,
    /// What is missing of rooms' history.
    pub history: History,
    /// Rooms whose members are being loaded.
    pub partial_joins: PartialJoins,
    /// Spaces of other servers.
    pub hierarchies: Hierarchies,
}

impl App {
    /// A node on this database.
    pub fn new(config: Config, db: Db, hub: Hub) -> Result<Self, Failure> {
        let config = Arc::new(config);
        let federation = Federation::new(Arc::clone(&config), db.clone(), hub.clone())?;
        Ok(Self {
            sends: send::batcher(db.clone(), hub.clone()),
            syncs: sync::batcher(db.clone()),
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
        })
    }

    /// Has an event fetched that is missing here; whether to look again.
    pub async fn fetch_event(&self, room_id: &str, event_id: &str) -> bool {
        let deadline = Instant::now() + history::TIMEOUT;
        self.federation.is_enabled() && self.history.fetch_event(room_id, event_id, deadline).await
    }

    /// Serves a request by one statement, as [`Federation::call`] tells.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        self.federation.call(sql, params).await
    }
}
