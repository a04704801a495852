//! What handlers share.

use std::sync::Arc;

use axum::http::StatusCode;
use matriarch_rules::identifiers::server_name;
use tokio::time::Instant;
use tokio_postgres::types::ToSql;

use crate::accounts::last_seen::LastSeen;
use crate::client::send::{self, Sends};
use crate::client::send_to_device::Acknowledgements;
use crate::client::sync::{self, Syncs};
use crate::config::Config;
use crate::db::{Db, MatrixResponse};
use crate::error::ApiError;
use crate::failure::Failure;
use crate::federation::partial_joins::Patience;
use crate::federation::{Federation, history, policy_servers};
use crate::hub::Hub;
use crate::presence::Presence;

/// The node: cheap to clone, and without any state that the database does not have.
#[derive(Clone)]
pub struct AppState {
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
    /// Who is there.
    pub presence: Presence,
    /// Other servers.
    pub federation: Federation,
}

impl AppState {
    /// A node on this database.
    pub fn new(config: Config, db: Db, hub: Hub) -> Result<Self, Failure> {
        let sends = send::batcher(db.clone(), hub.clone());
        let syncs = sync::batcher(db.clone());
        let acknowledgements = Acknowledgements::new(db.clone());
        let presence = Presence::new(config.presence.enabled, db.clone(), hub.clone());
        let federation = Federation::new(&config)?;
        Ok(Self {
            config: Arc::new(config),
            db,
            hub,
            sends,
            syncs,
            acknowledgements,
            last_seen: LastSeen::default(),
            presence,
            federation,
        })
    }

    /// Whether a user, or an alias, is of a server that is to be asked about it.
    pub fn is_elsewhere(&self, id: &str) -> bool {
        server_name(id).is_some_and(|server| self.is_other_server(server))
    }

    /// Whether this is another server, and there are any.
    pub fn is_other_server(&self, server: &str) -> bool {
        self.config.federation.enabled && server != self.config.server_name
    }

    /// Has an event fetched that is missing here; whether to look again.
    pub async fn fetch_event(&self, room_id: &str, event_id: &str) -> bool {
        let deadline = Instant::now() + history::PATIENCE;
        self.config.federation.enabled
            && self.federation.history.fetch_event(self, room_id, event_id, deadline).await
    }

    /// Serves a request by one statement of the form
    /// `select status, body, wake_rooms, wake_users from matriarch.…($1, …)`, and wakes the syncs that it names.
    ///
    /// A request that needs all members of a room waits while some are being loaded.
    /// Where the room's policy server is to sign an event first, it is asked, and another statement follows.
    ///
    /// The statement may run more than once after a serialization failure, so it must not be one of several that
    /// belong together.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let response = self.call_when_whole(sql, params).await?;
        self.hub.wake(&response.wake_rooms, &response.wake_users);
        policy_servers::complete(self, response).await
    }

    /// Serves a request by one statement, and leaves its answer to the caller, but for waiting while members of the room are being
    /// loaded.
    pub async fn call_when_whole(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let mut response = self.db.call(sql, params).await?;
        let patience = Patience::default();
        while response.status == StatusCode::LOCKED {
            patience.pause().await?;
            response = self.db.call(sql, params).await?;
        }
        Ok(response)
    }
}
