//! Fetches stale device lists from other servers. Server-Server API, "Device Management".

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Notify;
use tracing::debug;

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::leased_work::{self, LeasedWork};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::call;

/// For one request. Shorter than a lease, which lasts 60 seconds.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read, in bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

const CLAIM: &str = include_str!("device_lists/claim.sql");
const STORE: &str = call!("matriarch.store_device_list($1, $2, $3)");
const FAIL: &str = include_str!("device_lists/fail.sql");
const RELEASE: &str = "
update matriarch.remote_device_lists set leased_until = null where user_nid = any($1)";

/// Fetches stale device lists on this node. Cheap to clone.
#[derive(Clone)]
pub struct DeviceLists {
    federation: Federation,
    arrived: Arc<Notify>,
    /// The users whose lists this node has leased.
    leased: Arc<Mutex<BTreeSet<i64>>>,
}

/// A stale list that this node has leased.
pub struct Stale {
    user_nid: i64,
    user_id: String,
    server_name: String,
    updates: i64,
}

impl DeviceLists {
    /// Fetches nothing until [`Self::run`].
    pub fn new(federation: Federation) -> Self {
        Self { federation, arrived: Arc::default(), leased: Arc::default() }
    }

    /// Tells the node that updates arrived, which may have made lists stale.
    pub fn arrived(&self) {
        self.arrived.notify_one();
    }

    /// Fetches stale lists for as long as the node runs.
    pub async fn run(self) {
        leased_work::run(self).await;
    }

    /// Ends the remaining leases when the node stops.
    pub async fn release_all(&self) {
        let leased: Vec<i64> = std::mem::take(&mut *self.leased.lock()).into_iter().collect();
        if !leased.is_empty() {
            let _logged = self.federation.db.query(RELEASE, &[&leased]).await;
        }
    }
}

impl LeasedWork for DeviceLists {
    type Lease = Stale;

    /// Each worker asks one server for one list.
    const WORKERS: usize = 8;
    const POLL: Duration = Duration::from_secs(5);

    fn wake_up(&self) -> &Notify {
        &self.arrived
    }

    async fn claim(&self, limit: usize) -> Result<Vec<Stale>, ApiError> {
        let limit = i64::try_from(limit).unwrap_or(1);
        let rows = self.federation.db.query(CLAIM, &[&limit]).await?;
        let stale = rows.iter().map(|row| Stale {
            user_nid: row.get("user_nid"),
            user_id: row.get("user_id"),
            server_name: row.get("server_name"),
            updates: row.get("updates"),
        });
        let stale: Vec<Stale> = stale.collect();
        self.leased.lock().extend(stale.iter().map(|stale| stale.user_nid));
        Ok(stale)
    }

    async fn work(self, stale: Stale) {
        if let Err(error) = fetch(&self.federation, &stale).await {
            let reason = error.to_string().replace('\0', "\u{fffd}");
            debug!(user_id = stale.user_id, reason, "a device list stays stale");
            let _logged = self.federation.db.query(FAIL, &[&stale.user_nid, &reason]).await;
        }
        self.leased.lock().remove(&stale.user_nid);
    }
}

async fn fetch(federation: &Federation, stale: &Stale) -> Result<(), FederationError> {
    let path = format!("/_matrix/federation/v1/user/devices/{}", encode(&stale.user_id));
    let request = Request {
        method: Method::GET,
        destination: &stale.server_name,
        path: &path,
        body: None,
        max_answer: MAX_ANSWER,
        timeout: TIMEOUT,
    };
    let answer = Value::from(federation.http.send(request).await?).to_string();
    let response = federation.call(STORE, &[&stale.user_id, &stale.updates, &answer]).await?;
    if response.status == StatusCode::OK {
        return Ok(());
    }
    let message = "The server's answer is no device list of the user";
    Err(FederationError::Internal(ApiError::new(response.status, "M_UNKNOWN", message)))
}
