//! Receives federation transactions. Server-Server API, "Transactions".

use std::borrow::Cow;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::put;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep};
use tracing::info;

use super::authentication::ServerRequest;
use crate::app::App;
use crate::base::error::ApiError;
use crate::base::raw_object::{RawObject, objects};
use crate::database::Outcome;
use crate::database::{MatrixResponse, call};
use crate::http::Path;

const MAX_PDUS: usize = 50;
const MAX_EDUS: usize = 100;
/// The most JSON objects in a PDU or EDU: more than fit into an event. One with more is left out.
const MAX_OBJECTS: usize = 25_000;

/// How long a transaction waits while a join of its room is in progress, and the pause between attempts.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
const JOIN_PAUSE: Duration = Duration::from_millis(250);

const RECEIVE: &str = call!("matriarch.receive_transaction($1, $2, $3, $4)");

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().route("/_matrix/federation/v1/send/{txn_id}", put(send))
}

/// `PUT /_matrix/federation/v1/send/{txnId}`
///
/// Answers when the events are staged. Their intake follows in the background.
async fn send(
    State(app): State<App>,
    Path(txn_id): Path<String>,
    ServerRequest { origin, content }: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    let mut pdus = texts(&content, "pdus", MAX_PDUS)?.ok_or_else(|| ApiError::missing_param("pdus"))?;
    let mut edus = texts(&content, "edus", MAX_EDUS)?.unwrap_or_default();
    let is_admitted = |item: &&str| {
        let is_admitted = objects(item) <= MAX_OBJECTS;
        if !is_admitted {
            info!(origin, limit = "objects", "an event or EDU of another server is over a limit");
            crate::base::metrics::federation_limit("objects");
        }
        is_admitted
    };
    pdus.retain(is_admitted);
    edus.retain(is_admitted);
    if !app.presence.is_enabled() {
        edus.retain(|edu| !is_presence(edu));
    }
    let mut response = app.call(RECEIVE, &[&origin, &txn_id, &pdus, &edus]).await?;
    let deadline = Instant::now() + JOIN_TIMEOUT;
    while response.outcome == Some(Outcome::JoinInProgress) && Instant::now() <= deadline {
        sleep(JOIN_PAUSE).await;
        response = app.call(RECEIVE, &[&origin, &txn_id, &pdus, &edus]).await?;
    }
    if response.status == StatusCode::TOO_MANY_REQUESTS {
        let is_joining = response.outcome == Some(Outcome::JoinInProgress);
        let limit = if is_joining { "join_time" } else { "staged" };
        info!(origin, limit, "another server is told to wait with its events");
        crate::base::metrics::federation_limit(limit);
    }
    if !pdus.is_empty() {
        app.inbound.arrived();
    }
    if !edus.is_empty() {
        app.device_lists.arrived();
    }
    Ok(response)
}

fn is_presence(edu: &str) -> bool {
    #[derive(Deserialize)]
    struct Edu<'e> {
        #[serde(borrow)]
        edu_type: Cow<'e, str>,
    }
    serde_json::from_str::<Edu<'_>>(edu).is_ok_and(|edu| edu.edu_type == "m.presence")
}

/// The items of an array as JSON texts, each of which is judged by itself. 400 `M_BAD_JSON` if it is no
/// array, or has too many.
fn texts<'c>(content: &'c RawObject, key: &str, max: usize) -> Result<Option<Vec<&'c str>>, ApiError> {
    if content.get(key).is_none() {
        return Ok(None);
    }
    match content.items(key) {
        Some(items) if items.len() <= max => Ok(Some(items.into_iter().map(RawValue::get).collect())),
        Some(_) => Err(ApiError::bad_json(format!("A transaction has at most {max} {key}"))),
        None => Err(ApiError::bad_json(format!("`{key}` must be an array"))),
    }
}
