//! Combines syncs that arrive or are woken together into one statement.

use std::collections::HashMap;

use axum::http::StatusCode;
use moka::sync::Cache;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use tracing::error;

use super::batcher::{BatchLost, Batcher, Group};
use crate::base::access_token::AccessToken;
use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::database::Db;

/// The most syncs in one statement: each waits for all of them.
const MAX_BATCH: usize = 250;
/// The number of shards, and so of statements at the same time. As many again are for initial syncs, so that
/// no other sync waits for their long answers.
const SHARDS: u8 = 4;

const SYNC: &str =
    "select status, body, changed, user_nid, room_nids, acknowledged_by from matriarch.sync($1, $2)";

/// How many tokens are remembered with their users.
const REMEMBERED: u64 = 100_000;

/// The batcher of syncs.
#[derive(Clone)]
pub struct Syncs {
    /// Its keys are shards.
    batcher: Batcher<u8, Sync, Result<Answer, ApiError>>,
    /// The users of tokens. Several devices of a user may be slow for the same reason.
    users: Cache<AccessToken, i64>,
}

/// A sync to answer.
#[derive(Clone, Debug)]
pub struct Sync {
    pub token: AccessToken,
    /// [`SyncRequest`](matriarch_wire::SyncRequest) in JSON.
    pub request: String,
}

/// The answer to a sync.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: String,
    /// Whether there is news, so that the client must be answered at once.
    pub changed: bool,
    /// The user, and the rooms to wait for if there is no news.
    pub user_nid: i64,
    pub room_nids: Vec<i64>,
    /// The device whose sync token acknowledges messages that are still stored.
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

    /// The token under `key` in the body, from which the next request continues.
    pub fn token(&self, key: &str) -> Option<String> {
        let body: HashMap<&str, &RawValue> = serde_json::from_str(&self.body).ok()?;
        serde_json::from_str(body.get(key)?.get()).ok()
    }
}

impl Syncs {
    /// A batcher without requests, for `/sync`.
    pub fn new(db: Db) -> Self {
        let batcher = Batcher::new("sync", MAX_BATCH, move |_shard: u8, syncs: Vec<Sync>| {
            let db = db.clone();
            async move { sync_all(&db, &syncs).await }
        });
        Self { batcher, users: bounded(REMEMBERED).build() }
    }

    /// Answers a sync with others. `since` is its sync token.
    pub async fn submit(
        &self,
        sync: Sync,
        since: Option<&str>,
    ) -> Result<Result<Answer, ApiError>, BatchLost> {
        let token = sync.token;
        let user = self.users.get(&token);
        let group = user.map_or_else(|| Group::of(token), Group::of);
        let answer = self.batcher.submit(shard(&token, since), group, sync).await?;
        if let Ok(Answer { user_nid, status: StatusCode::OK, .. }) = &answer
            && user.is_none()
        {
            self.users.insert(token, *user_nid);
        }
        Ok(answer)
    }
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
        // If a statement fails, answer each sync by itself, so that the other syncs do not fail.
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

/// The shard of a sync. It is the same for all syncs of a device, so that batches are large.
fn shard(token: &AccessToken, since: Option<&str>) -> u8 {
    let shard = token.hash().first().map_or(0, |byte| byte % SHARDS);
    if since.is_none() { SHARDS + shard } else { shard }
}
