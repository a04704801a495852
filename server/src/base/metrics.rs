//! The metrics of `/metrics`.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Buckets in seconds. The upper ones are for long polls.
const DURATIONS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
const STATEMENTS: &[f64] = &[0.0, 1.0, 2.0, 3.0, 5.0, 10.0];
const BATCH_SIZES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];

/// Installs the recorder of this process, and returns the handle that renders it.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATIONS)?
        .set_buckets_for_metric(Matcher::Full("matriarch_db_statements_per_request".to_owned()), STATEMENTS)?
        .set_buckets_for_metric(Matcher::Full("matriarch_batch_size".to_owned()), BATCH_SIZES)?
        .install_recorder()?;
    describe_counter!("matriarch_http_requests_total", "Requests answered, by endpoint, method and status");
    describe_histogram!("matriarch_http_request_duration_seconds", "Time to answer, long polls included");
    describe_histogram!("matriarch_db_statements_per_request", "Database statements that a request took");
    describe_histogram!("matriarch_batch_size", "Requests served by one statement, by kind of batch");
    describe_counter!(
        "matriarch_limits_total",
        "What was refused because of a limit of this node, by the limit"
    );
    describe_gauge!("matriarch_http_connections", "Open connections of clients and other servers");
    describe_gauge!(
        "matriarch_memory_in_flight_bytes",
        "Estimated memory of bodies and of other servers' answers that are being dealt with"
    );
    describe_gauge!("matriarch_db_pool_connections", "Open database connections");
    describe_gauge!("matriarch_db_pool_in_use", "Database connections in use");
    describe_gauge!("matriarch_db_pool_waiting", "Requests that wait for a database connection");
    describe_counter!("matriarch_db_errors_total", "Statements that failed, by SQLSTATE or reason");
    describe_gauge!("matriarch_sync_waiters", "Syncs that wait for news");
    describe_counter!("matriarch_wakes_total", "Wake-ups of rooms and users, by where they came from");
    describe_counter!(
        "matriarch_federation_pdus_total",
        "Staged events of other servers that were tried, by what became of them"
    );
    describe_counter!(
        "matriarch_federation_limits_total",
        "What other servers sent or answered beyond a limit, by the limit"
    );
    describe_counter!(
        "matriarch_federation_backfills_total",
        "Gaps in rooms' history that other servers were asked to fill, by outcome"
    );
    describe_counter!(
        "matriarch_federation_transactions_total",
        "Transactions sent to other servers, by outcome"
    );
    describe_counter!("matriarch_federation_pdus_sent_total", "Events that other servers took");
    describe_counter!("matriarch_federation_edus_sent_total", "EDUs that other servers took");
    describe_counter!(
        "matriarch_federation_pdus_refused_total",
        "Events that other servers took but did not accept"
    );
    describe_counter!(
        "matriarch_federation_unproven_invites_total",
        "Invites of other servers whose state did not prove the room"
    );
    describe_gauge!(
        "matriarch_federation_destinations_backed_off",
        "Other servers that do not answer and are not tried again for a while"
    );
    Ok(handle)
}

/// Records an answered request.
pub fn request(method: &str, endpoint: &str, status: u16, elapsed: Duration, statements: u32) {
    // An unknown method would create a new series.
    let method = match method {
        "GET" | "PUT" | "POST" | "DELETE" | "HEAD" => method.to_owned(),
        _ => "other".to_owned(),
    };
    let endpoint = endpoint.to_owned();
    counter!(
        "matriarch_http_requests_total",
        "method" => method.clone(), "endpoint" => endpoint.clone(), "status" => status.to_string()
    )
    .increment(1);
    histogram!(
        "matriarch_http_request_duration_seconds",
        "method" => method.clone(), "endpoint" => endpoint.clone()
    )
    .record(elapsed.as_secs_f64());
    histogram!("matriarch_db_statements_per_request", "method" => method, "endpoint" => endpoint)
        .record(f64::from(statements));
}

/// Records a statement that failed: `state` is its SQLSTATE, or `connection`, `pool` or `silence`.
pub fn database_error(state: &str) {
    counter!("matriarch_db_errors_total", "sqlstate" => state.to_owned()).increment(1);
}

/// Records how many requests a batch contained.
#[expect(clippy::cast_precision_loss, reason = "batches are small")]
pub fn batch(kind: &'static str, size: usize) {
    histogram!("matriarch_batch_size", "kind" => kind).record(size as f64);
}

/// Records the figures of the pool, as [`Db::pool_status`] returns them.
///
/// [`Db::pool_status`]: crate::database::Db::pool_status
#[expect(clippy::cast_precision_loss, reason = "pools are small")]
pub fn pool((connections, in_use, waiting): (usize, usize, usize)) {
    gauge!("matriarch_db_pool_connections").set(connections as f64);
    gauge!("matriarch_db_pool_in_use").set(in_use as f64);
    gauge!("matriarch_db_pool_waiting").set(waiting as f64);
}

/// Records a sync that begins (`1.0`) or ends (`-1.0`) to wait.
pub fn sync_waiters(change: f64) {
    gauge!("matriarch_sync_waiters").increment(change);
}

/// Records wake-ups: `source` is `local`, `notify` or `poll`.
pub fn wakes(source: &'static str, count: usize) {
    counter!("matriarch_wakes_total", "source" => source).increment(count as u64);
}

/// Records that a limit of this node was reached.
pub fn limit(limit: &'static str) {
    counter!("matriarch_limits_total", "limit" => limit).increment(1);
}

/// Records a connection that begins (`1.0`) or ends (`-1.0`).
pub fn connections(change: f64) {
    gauge!("matriarch_http_connections").increment(change);
}

/// Records how many bytes of the budget of memory are taken.
#[expect(clippy::cast_precision_loss, reason = "a gauge need not be exact")]
pub fn memory_in_flight(bytes: usize) {
    gauge!("matriarch_memory_in_flight_bytes").set(bytes as f64);
}

/// Records that another server reached a limit.
pub fn federation_limit(limit: &'static str) {
    counter!("matriarch_federation_limits_total", "limit" => limit).increment(1);
}

/// Records that a gap was `filled`, at least in part, or not (`failed`).
pub fn backfill(outcome: &'static str) {
    counter!("matriarch_federation_backfills_total", "outcome" => outcome).increment(1);
}

/// Records the verdict of a staged event.
pub fn inbound_pdu(outcome: &'static str) {
    counter!("matriarch_federation_pdus_total", "outcome" => outcome).increment(1);
}

/// Records a transaction to another server: `taken`, `failed` (to be repeated) or `given_up`.
pub fn transaction_sent(outcome: &'static str) {
    counter!("matriarch_federation_transactions_total", "outcome" => outcome).increment(1);
}

/// Records the number of PDUs and EDUs in a transaction that another server accepted.
pub fn sent(pdus: usize, edus: usize) {
    counter!("matriarch_federation_pdus_sent_total").increment(pdus as u64);
    counter!("matriarch_federation_edus_sent_total").increment(edus as u64);
}

/// Records an invite whose state did not prove the room.
pub fn unproven_invite() {
    counter!("matriarch_federation_unproven_invites_total").increment(1);
}

/// Records an event that another server did not accept.
pub fn pdu_refused() {
    counter!("matriarch_federation_pdus_refused_total").increment(1);
}

/// Records how many destinations are backed off.
#[expect(clippy::cast_precision_loss, reason = "servers are few")]
pub fn destinations_backed_off(count: usize) {
    gauge!("matriarch_federation_destinations_backed_off").set(count as f64);
}
