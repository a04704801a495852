//! Servers that did not answer, and are not tried again for a while unless they are heard of.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::database::Db;
use crate::hub::Hub;

/// How often a node asks which servers other nodes found not to answer.
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

    /// Asks the database, if that is due.
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

    /// Ends the pause of a server that sent a request. Costs a look at memory where there is none.
    pub fn heard_from(&self, server: &str) {
        if !self.known().servers.remove(server) {
            return;
        }
        let (db, hub, server) = (self.db.clone(), self.hub.clone(), server.to_owned());
        tokio::spawn(async move {
            // A failure was logged; the server is tried when its pause is over.
            let _logged = db.query(RETRY, &[&server]).await;
            hub.wake_senders();
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.shared.lock()
    }
}
