//! Fetching other servers' device lists of which updates are missing. Server-Server API, "Device Management".

use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::debug;

use super::client::{FederationError, Request};
use crate::error::ApiError;
use crate::state::AppState;

/// Servers that a node asks at the same time, each for one list.
const WORKERS: usize = 8;
/// How often a node looks for stale lists.
const POLL: Duration = Duration::from_secs(5);
/// A lease lasts longer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

const CLAIM: &str = include_str!("device_lists/claim.sql");
const STORE: &str =
    "select status, body, wake_rooms, wake_users from matriarch.store_device_list($1, $2, $3)";
const FAIL: &str = include_str!("device_lists/fail.sql");

/// This node's part in keeping device lists up to date. Cheap to clone.
#[derive(Clone, Default)]
pub struct DeviceLists {
    arrived: Arc<Notify>,
}

/// A list that is stale, leased by this node.
struct Stale {
    user_nid: i64,
    user_id: String,
    server_name: String,
    updates: i64,
}

impl DeviceLists {
    /// Updates came, which may have made lists stale.
    pub fn arrived(&self) {
        self.arrived.notify_one();
    }

    /// Fetches stale lists for as long as the node runs.
    pub async fn run(self, app: AppState) {
        let mut workers = JoinSet::new();
        loop {
            if workers.len() < WORKERS {
                let limit = i64::try_from(WORKERS - workers.len()).unwrap_or(1);
                // A database that is away was logged by `Db`.
                for row in app.db.query(CLAIM, &[&limit]).await.unwrap_or_default() {
                    let stale = Stale {
                        user_nid: row.get("user_nid"),
                        user_id: row.get("user_id"),
                        server_name: row.get("server_name"),
                        updates: row.get("updates"),
                    };
                    workers.spawn(refresh(app.clone(), stale));
                }
            }
            tokio::select! {
                Some(_) = workers.join_next() => {}
                () = self.arrived.notified(), if workers.len() < WORKERS => {}
                () = sleep(POLL) => {}
            }
        }
    }
}

async fn refresh(app: AppState, stale: Stale) {
    let reason = match fetch(&app, &stale).await {
        Ok(()) => return,
        Err(error) => error.to_string().replace('\0', "\u{fffd}"),
    };
    debug!(user_id = stale.user_id, reason, "a device list stays stale");
    let _logged = app.db.query(FAIL, &[&stale.user_nid, &reason]).await;
}

async fn fetch(app: &AppState, stale: &Stale) -> Result<(), FederationError> {
    let path = format!(
        "/_matrix/federation/v1/user/devices/{}",
        utf8_percent_encode(&stale.user_id, NON_ALPHANUMERIC)
    );
    let request = Request {
        method: Method::GET,
        destination: &stale.server_name,
        path: &path,
        body: None,
        max_answer: MAX_ANSWER,
        timeout: TIMEOUT,
    };
    let answer = Value::Object(app.federation.client.send(&app.db, request).await?).to_string();
    let response = app.call(STORE, &[&stale.user_id, &stale.updates, &answer]).await?;
    if response.status == StatusCode::OK {
        return Ok(());
    }
    let message = "The server's answer is no device list of the user";
    Err(FederationError::Internal(ApiError::new(response.status, "M_UNKNOWN", message)))
}
