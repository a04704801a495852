//! Destinations that did not answer. They are left alone for a while, unless they send a request.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::database::Db;
use crate::hub::Hub;

/// How often a node reads from the database which servers are backed off.
const REFRESH: Duration = Duration::from_secs(5);

const BACKED_OFF: &str = "select server_name from matriarch.destinations where retry_at > now()";
const RETRY: &str = "select matriarch.retry_transactions($1)";

/// The servers that this node knows to be backed off. Cheap to clone.
#[derive(Clone)]
pub struct BackedOff {
    db: Db,
    hub: Hub,
    shared: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    servers: HashSet<String>,
    refreshed_at: Option<Instant>,
}

impl BackedOff {
    pub fn new(db: Db, hub: Hub) -> Self {
        Self { db, hub, shared: Arc::default() }
    }

    pub fn add(&self, server: &str) {
        self.known().servers.insert(server.to_owned());
    }

    pub fn remove(&self, server: &str) {
        self.known().servers.remove(server);
    }

    /// Reads the servers from the database if [`REFRESH`] has passed.
    pub async fn refresh(&self) {
        if self.known().refreshed_at.is_some_and(|at| at.elapsed() < REFRESH) {
            return;
        }
        self.known().refreshed_at = Some(Instant::now());
        if let Ok(rows) = self.db.query(BACKED_OFF, &[]).await {
            let servers: HashSet<String> = rows.iter().filter_map(|row| row.try_get(0).ok()).collect();
            crate::base::metrics::destinations_backed_off(servers.len());
            self.known().servers = servers;
        }
    }

    /// Ends the pause of a server that sent a request. For other servers this only reads memory.
    pub fn heard_from(&self, server: &str) {
        if !self.known().servers.remove(server) {
            return;
        }
        let (db, hub, server) = (self.db.clone(), self.hub.clone(), server.to_owned());
        tokio::spawn(async move {
            // A failure was logged; the server is tried again when its pause ends.
            let _logged = db.query(RETRY, &[&server]).await;
            hub.wake_senders();
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.lock()
    }
}
