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
use matriarch_rules::canonical_json::to_canonical_lenient;
use matriarch_rules::json::Document;
use serde_json::{Map, Value, json};
use tokio::task::{Id, JoinSet};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_postgres::Row;
use tracing::{debug, info, warn};

use self::backed_off::BackedOff;
use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::server_keys::now_ts;
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;

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
    blame: Blame,
    /// How many events and EDUs it has.
    items: usize,
}

/// What a failure may be due to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blame {
    /// The destination, or the way to it.
    Destination,
    /// Something in the transaction, if the destination takes an empty one.
    Perhaps { give_up_after: i32 },
    /// Something in the transaction.
    Contents { give_up_after: i32 },
}

/// How often one event or EDU is refused before it is given up, and how often if the answer may be different
/// next time.
const REFUSALS: i32 = 1;
const PASSING_REFUSALS: i32 = 3;

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
        // Whether the destination has taken a transaction by now.
        let mut takes = false;
        while let Some(Transaction { txn_id, body }) = next.take() {
            let sent = self.send(&destination, &txn_id, &body).await;
            if sent.is_err() {
                self.backed_off.add(&destination);
            }
            let (error, give_up_after) = match &sent {
                Ok(()) => {
                    takes = true;
                    (None, None)
                }
                Err(failed) => {
                    let give_up_after = match failed.blame {
                        Blame::Destination => None,
                        Blame::Contents { give_up_after } => Some(give_up_after),
                        Blame::Perhaps { give_up_after } => {
                            takes = takes && failed.items > 1 || self.takes_empty(&destination).await;
                            takes.then_some(give_up_after)
                        }
                    };
                    (Some(failed.error.as_str()), give_up_after)
                }
            };
            let args: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
                [&&*self.lease, &destination_nid, &txn_id, &error, &give_up_after];
            // If the database is not reachable, the lease expires and the transaction is sent again.
            let Ok(Some(row)) = self.federation.db.query_opt(FINISH, &args).await else { return };
            let given_up: bool = row.get("given_up");
            if given_up {
                warn!(destination, txn_id, error, "gave up an event or EDU that the server refuses");
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
        let count = |key: &str| RawObject::parse(body.to_owned())?.items(key).map(|items| items.len());
        let (pdus, edus) = (count("pdus").unwrap_or_default(), count("edus").unwrap_or_default());
        let items = pdus + edus;
        let document = Document::parse(body).map_err(|error| {
            let (error, blame) = (error.to_string(), Blame::Contents { give_up_after: REFUSALS });
            Failed { error, blame, items }
        })?;
        match self.put(destination, txn_id, document.canonical()).await {
            Ok(answer) => {
                debug!(destination, txn_id, pdus, edus, "sent a transaction");
                crate::base::metrics::sent(pdus, edus);
                report(destination, &answer);
                Ok(())
            }
            Err(error) => {
                let blame = blame(&error);
                info!(destination, txn_id, pdus, edus, ?blame, %error, "a transaction was not accepted");
                Err(Failed { error: error.to_string(), blame, items })
            }
        }
    }

    /// Whether the destination takes a transaction without contents. If so, it refuses others for what they
    /// contain, whatever its answer says.
    async fn takes_empty(&self, destination: &str) -> bool {
        let txn_id = format!("{:032x}", rand::random::<u128>());
        let body = json!({
            "edus": [],
            "origin": self.federation.config.server_name,
            "origin_server_ts": now_ts(),
            "pdus": [],
        });
        self.put(destination, &txn_id, to_canonical_lenient(&body)).await.is_ok()
    }

    async fn put(
        &self,
        destination: &str,
        txn_id: &str,
        body: String,
    ) -> Result<Map<String, Value>, FederationError> {
        let request = Request {
            method: Method::PUT,
            destination,
            path: &format!("/_matrix/federation/v1/send/{txn_id}"),
            body: None,
            max_answer: MAX_ANSWER,
            timeout: self.federation.http.timeout(),
        };
        Ok(self.federation.http.send_canonical(request, body).await?.object())
    }
}

fn blame(error: &FederationError) -> Blame {
    match error {
        FederationError::Refused { status, .. } => match *status {
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Blame::Destination,
            StatusCode::INTERNAL_SERVER_ERROR => Blame::Perhaps { give_up_after: PASSING_REFUSALS },
            status if status.is_client_error() => Blame::Perhaps { give_up_after: REFUSALS },
            _ => Blame::Destination,
        },
        // This server could not make the request.
        FederationError::Internal(error) if error.status == StatusCode::INTERNAL_SERVER_ERROR => {
            Blame::Contents { give_up_after: PASSING_REFUSALS }
        }
        _ => Blame::Destination,
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
