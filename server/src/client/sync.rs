//! `GET /sync`: what is new, at once or as soon as there is any. Client-Server API, "Syncing".
//!
//! Syncs that arrive or are woken together go to the database as one statement.

use std::collections::HashMap;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tokio_postgres::Row;
use tracing::error;

use super::send_to_device::Acknowledgement;
use crate::batcher::Batcher;
use crate::config::Config;
use crate::db::Db;
use crate::error::ApiError;
use crate::http::{AccessToken, ClientRoutes, Query, json_response};
use crate::hub::Woken;
use crate::presence;
use crate::state::AppState;

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().client_v3("/sync", get(sync))
}

/// Syncs on their way to the database, by shard.
pub type Syncs = Batcher<u8, Sync, Result<Answer, ApiError>>;

/// How many syncs go into one statement at most: each waits for all of them.
const MAX_BATCH: usize = 250;
/// How many statements may run beside each other: one for each of these, and as many again for first syncs, whose
/// answers are long, so that nobody else waits for them.
const SHARDS: u8 = 4;

const SYNC: &str =
    "select status, body, changed, user_nid, room_nids, acknowledged_by from matriarch.sync($1, $2)";

/// The query parameters.
#[derive(Deserialize)]
struct Parameters {
    since: Option<String>,
    filter: Option<String>,
    #[serde(default)]
    full_state: bool,
    #[serde(default)]
    use_state_after: bool,
    /// Its name before it was stable.
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    unstable_use_state_after: bool,
    #[serde(default)]
    set_presence: presence::State,
    /// Milliseconds.
    timeout: Option<u64>,
}

/// What the database is asked.
#[derive(Serialize)]
struct Request {
    since: Option<String>,
    filter: Option<String>,
    full_state: bool,
    use_state_after: bool,
    unstable_use_state_after: bool,
    presence: bool,
}

/// A sync to be answered as of now.
#[derive(Clone, Debug)]
pub struct Sync {
    token: AccessToken,
    request: String,
}

/// What there was.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
    /// Whether the client should see it at once.
    pub changed: bool,
    /// Whom it is for, and which rooms may have news, where nothing changed.
    pub user_nid: i64,
    pub room_nids: Vec<i64>,
    /// The device whose token acknowledged send-to-device messages that are still stored.
    pub acknowledged_by: Option<i64>,
}

impl Answer {
    /// Reads a row of `status, body, changed, user_nid, room_nids, acknowledged_by`.
    pub fn from_row(row: &Row) -> Result<Self, ApiError> {
        let read = || -> Result<Self, tokio_postgres::Error> {
            let status = u16::try_from(row.try_get::<_, i16>("status")?).unwrap_or_default();
            Ok(Self {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                body: row.try_get("body")?,
                changed: row.try_get("changed")?,
                user_nid: row.try_get::<_, Option<i64>>("user_nid")?.unwrap_or_default(),
                room_nids: row.try_get::<_, Option<Vec<i64>>>("room_nids")?.unwrap_or_default(),
                acknowledged_by: row.try_get("acknowledged_by")?,
            })
        };
        read().map_err(|cause| {
            error!(%cause, "a row is not the answer to a sync");
            ApiError::internal()
        })
    }

    /// The token under `key` in the body, from which to go on.
    pub fn token(&self, key: &str) -> Option<String> {
        let body: HashMap<&str, &RawValue> = serde_json::from_str(&self.body).ok()?;
        serde_json::from_str(body.get(key)?.get()).ok()
    }
}

/// The batcher behind this endpoint.
pub fn batcher(db: Db) -> Syncs {
    Batcher::new("sync", MAX_BATCH, move |_shard: u8, syncs: Vec<Sync>| {
        let db = db.clone();
        async move { sync_all(&db, &syncs).await }
    })
}

async fn sync_all(db: &Db, syncs: &[Sync]) -> Vec<Result<Answer, ApiError>> {
    let token_hashes: Vec<&[u8]> = syncs.iter().map(|sync| sync.token.hash()).collect();
    let requests: Vec<&str> = syncs.iter().map(|sync| sync.request.as_str()).collect();
    match db.query(SYNC, &[&token_hashes, &requests]).await {
        Ok(rows) if rows.len() == syncs.len() => rows.iter().map(Answer::from_row).collect(),
        Ok(rows) => {
            error!(asked = syncs.len(), answered = rows.len(), "syncs were not all answered");
            vec![Err(ApiError::internal()); syncs.len()]
        }
        // What one of them meets is not to be the others' fault.
        Err(refusal) if refusal.retry_after.is_none() && syncs.len() > 1 => {
            let mut answers = Vec::with_capacity(syncs.len());
            for sync in syncs {
                answers.extend(Box::pin(sync_all(db, std::slice::from_ref(sync))).await);
            }
            answers
        }
        Err(refusal) => vec![Err(refusal); syncs.len()],
    }
}

/// Where a sync goes: beside the same others every time, so that batches are big.
fn shard(token: &AccessToken, since: Option<&str>) -> u8 {
    let shard = token.hash().first().map_or(0, |byte| byte % SHARDS);
    if since.is_none() { SHARDS + shard } else { shard }
}

/// When a long poll ends that wants to wait for `timeout` milliseconds.
pub fn deadline(config: &Config, timeout: Option<u64>) -> Instant {
    let longest = Duration::from_secs(config.limits.max_sync_timeout);
    Instant::now() + timeout.map_or(Duration::ZERO, Duration::from_millis).min(longest)
}

/// `GET /_matrix/client/v3/sync`
async fn sync(
    State(app): State<AppState>,
    token: AccessToken,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    let Parameters {
        since,
        filter,
        full_state,
        use_state_after,
        unstable_use_state_after,
        set_presence,
        timeout,
    } = parameters;
    let presence = app.presence.is_enabled();
    let mut request =
        Request { since, filter, full_state, use_state_after, unstable_use_state_after, presence };
    let deadline = deadline(&app.config, timeout);
    let mut is_noted = false;
    loop {
        let mark = app.hub.mark();
        let sync = Sync { token, request: serde_json::to_string(&request).unwrap_or_default() };
        let shard = shard(&token, request.since.as_deref());
        let answer = app.syncs.submit(shard, sync).await??;
        if let (Some(device_nid), Some(since)) = (answer.acknowledged_by, &request.since) {
            app.acknowledgements.submit(Acknowledgement { device_nid, since: since.clone() });
        }
        if answer.status == StatusCode::OK && !is_noted {
            is_noted = true;
            app.presence.syncs(token, set_presence, deadline);
        }
        if answer.changed || Instant::now() >= deadline {
            return Ok(json_response(answer.status, answer.body));
        }
        match app.hub.wait(mark, answer.user_nid, &answer.room_nids, deadline).await {
            // What the answer left out, the client did not want: the next question begins after it. Its token
            // acknowledges no message that the client's own does not: one would have been news.
            Woken::News => request.since = answer.token("next_batch").or(request.since),
            Woken::Timeout | Woken::Shutdown => return Ok(json_response(answer.status, answer.body)),
        }
    }
}
