//! Sends transactions to other servers. Server-Server API, "Transactions".
//!
//! The database knows what is pending for each destination. A node leases a destination and sends to it, one
//! transaction at a time, until nothing is left. The node renews its leases every second; the leases of a
//! dead node expire soon.

mod backed_off;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use serde_json::{Map, Value};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_postgres::Row;
use tracing::{debug, info, warn};

use self::backed_off::BackedOff;
use super::base::Federation;
use super::http_client::{FederationError, Request};
use crate::base::error::ApiError;

/// How often a node looks for work that it was not told about, and renews its leases.
const POLL: Duration = Duration::from_secs(1);
/// The least time between two searches for work. Events of that time share a transaction.
const PACE: Duration = Duration::from_millis(10);
/// How long a lease lasts that is not renewed, in seconds.
const LEASE_S: f64 = 15.0;
/// How many destinations a node sends to at the same time.
const MAX_DESTINATIONS: usize = 200;
/// How many destinations one statement claims: it returns a transaction for each.
const MAX_CLAIMED: usize = 20;
/// The longest answer that is read, in bytes. It has a result for each PDU.
const MAX_ANSWER: usize = 1024 * 1024;

const CLAIM: &str = "select destination_nid, destination, txn_id, body
    from matriarch.claim_transactions($1, $2, $3, $4)";
const FINISH: &str = "select given_up, next_txn_id, next_body
    from matriarch.finish_transaction($1, $2, $3, $4, $5)";
const RELEASE: &str = "select matriarch.release_transactions($1)";

/// Sends transactions to other servers. Cheap to clone.
#[derive(Clone)]
pub struct Outgoing {
    /// A random id that marks this node's leases.
    lease: Arc<str>,
    federation: Federation,
    backed_off: BackedOff,
}

/// A destination that this node has leased, and the first transaction.
struct Claimed {
    destination_nid: i64,
    destination: String,
    transaction: Transaction,
}

struct Transaction {
    txn_id: String,
    body: String,
}

/// Why a transaction was not accepted.
struct Failed {
    error: String,
    /// Whether the destination would refuse the same transaction again.
    is_refusal: bool,
}

impl Outgoing {
    /// Leases nothing until [`Self::run`].
    pub fn new(federation: Federation) -> Self {
        let lease = format!("{:032x}", rand::random::<u128>()).into();
        let backed_off = BackedOff::new(federation.db.clone(), federation.hub.clone());
        Self { lease, federation, backed_off }
    }

    /// Sends for as long as the node runs. If the database is not reachable, `Db` logs it and the next round
    /// tries again.
    pub async fn run(self) {
        let mut deliveries = Deliveries::default();
        loop {
            let began = Instant::now();
            deliveries.reap();
            self.backed_off.refresh().await;
            // Claims again while statements return as many destinations as they may.
            while let Ok(claimed) = self.claim(&deliveries).await
                && !claimed.is_empty()
            {
                let was_full = claimed.len() == MAX_CLAIMED;
                for claimed in claimed {
                    let this = self.clone();
                    let nid = claimed.destination_nid;
                    deliveries.spawn(nid, async move { this.deliver(claimed).await });
                }
                if !was_full {
                    break;
                }
            }
            // The wake-up only shortens the pause; nothing is lost without it.
            let _ = timeout_at(began + POLL, self.federation.hub.outgoing()).await;
            sleep_until(began + PACE).await;
        }
    }

    /// Ends the node's leases, so that other nodes need not wait until they expire.
    pub async fn release(&self) {
        let _logged = self.federation.db.query(RELEASE, &[&&*self.lease]).await;
    }

    /// Notes that a server sent a request. If it is backed off, it is tried again at once.
    pub fn heard_from(&self, server: &str) {
        self.backed_off.heard_from(server);
    }

    async fn claim(&self, deliveries: &Deliveries) -> Result<Vec<Claimed>, ApiError> {
        let renewed: Vec<i64> = deliveries.destinations().collect();
        let free = MAX_DESTINATIONS.saturating_sub(renewed.len()).min(MAX_CLAIMED);
        let free = i64::try_from(free).unwrap_or_default();
        let rows = self.federation.db.query(CLAIM, &[&&*self.lease, &free, &LEASE_S, &renewed]).await?;
        Ok(rows.iter().filter_map(claimed_of).collect())
    }

    /// Sends to a destination until nothing is left, or until it does not answer.
    async fn deliver(&self, claimed: Claimed) {
        let Claimed { destination_nid, destination, transaction } = claimed;
        let mut next = Some(transaction);
        while let Some(Transaction { txn_id, body }) = next.take() {
            let sent = self.send(&destination, &txn_id, &body).await;
            if sent.is_err() {
                self.backed_off.add(&destination);
            }
            let (error, is_refusal) = match &sent {
                Ok(()) => (None, false),
                Err(failed) => (Some(failed.error.as_str()), failed.is_refusal),
            };
            let args: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&&*self.lease, &destination_nid, &txn_id, &error, &is_refusal];
            // If the database is not reachable, the lease expires and the transaction is sent again.
            let Ok(Some(row)) = self.federation.db.query_opt(FINISH, &args).await else { return };
            let given_up: bool = row.get("given_up");
            if given_up {
                warn!(destination, txn_id, error, "gave up a transaction that the server refuses");
                self.backed_off.remove(&destination);
            }
            crate::base::metrics::transaction_sent(match (error, given_up) {
                (None, _) => "taken",
                (Some(_), false) => "failed",
                (Some(_), true) => "given_up",
            });
            let (txn_id, body): (Option<String>, Option<String>) =
                (row.get("next_txn_id"), row.get("next_body"));
            next = txn_id.zip(body).map(|(txn_id, body)| Transaction { txn_id, body });
        }
    }

    async fn send(&self, destination: &str, txn_id: &str, body: &str) -> Result<(), Failed> {
        let body: Value = serde_json::from_str(body)
            .map_err(|error| Failed { error: format!("it is not JSON: {error}"), is_refusal: true })?;
        let count = |key: &str| body.get(key).and_then(Value::as_array).map_or(0, Vec::len);
        let (pdus, edus) = (count("pdus"), count("edus"));
        let request = Request {
            method: Method::PUT,
            destination,
            path: &format!("/_matrix/federation/v1/send/{txn_id}"),
            body: Some(&body),
            max_answer: MAX_ANSWER,
            timeout: self.federation.http.timeout(),
        };
        match self.federation.http.send(request).await {
            Ok(answer) => {
                debug!(destination, txn_id, pdus, edus, "sent a transaction");
                crate::base::metrics::sent(pdus, edus);
                report(destination, &answer);
                Ok(())
            }
            Err(error) => {
                let is_refusal = is_refusal(&error);
                info!(destination, txn_id, pdus, edus, is_refusal, %error, "a transaction was not accepted");
                Err(Failed { error: error.to_string(), is_refusal })
            }
        }
    }
}

/// Whether the request itself is at fault, so that another attempt would fail too; not the network, a passing
/// failure of the destination, or a lack of permission.
fn is_refusal(error: &FederationError) -> bool {
    match error {
        FederationError::Refused { status, .. } => {
            status.is_client_error()
                && !matches!(
                    *status,
                    StatusCode::UNAUTHORIZED
                        | StatusCode::FORBIDDEN
                        | StatusCode::NOT_FOUND
                        | StatusCode::REQUEST_TIMEOUT
                        | StatusCode::TOO_MANY_REQUESTS
                )
        }
        // It cannot be signed.
        FederationError::Internal(error) => error.status == StatusCode::INTERNAL_SERVER_ERROR,
        _ => false,
    }
}

/// Logs PDUs that the destination did not accept. They count as sent, as it would not accept them later
/// either.
fn report(destination: &str, answer: &Map<String, Value>) {
    let results = answer.get("pdus").and_then(Value::as_object);
    for (event_id, result) in results.into_iter().flatten() {
        if let Some(error) = result.get("error").and_then(Value::as_str) {
            let error: String = error.chars().take(500).collect();
            warn!(destination, event_id, error, "another server did not accept an event");
            crate::base::metrics::pdu_refused();
        }
    }
}

fn claimed_of(row: &Row) -> Option<Claimed> {
    Some(Claimed {
        destination_nid: row.try_get("destination_nid").ok()?,
        destination: row.try_get("destination").ok()?,
        transaction: Transaction { txn_id: row.try_get("txn_id").ok()?, body: row.try_get("body").ok()? },
    })
}

/// The running deliveries. Dropping this ends their tasks.
#[derive(Default)]
struct Deliveries {
    tasks: JoinSet<()>,
    running: BTreeSet<i64>,
    by_task: std::collections::HashMap<Id, i64>,
}

impl Deliveries {
    fn destinations(&self) -> impl Iterator<Item = i64> {
        self.running.iter().copied()
    }

    fn spawn(&mut self, destination_nid: i64, delivery: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(delivery);
        self.by_task.insert(task.id(), destination_nid);
        self.running.insert(destination_nid);
    }

    /// Removes deliveries that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            let id = match ended {
                Ok((id, ())) => id,
                Err(error) => error.id(),
            };
            if let Some(destination_nid) = self.by_task.remove(&id) {
                self.running.remove(&destination_nid);
            }
        }
    }
}
