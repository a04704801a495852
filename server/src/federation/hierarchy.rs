//! Asks other servers for the hierarchy of rooms and caches their answers. Server-Server API, "Spaces".

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::is_server_name;
use matriarch_wire::{RoomAnswer, RoomQuestion};
use moka::sync::Cache;
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::base::Federation;
use super::http_client::{FederationError, Request};
use crate::base::cache::bounded;
use crate::base::error::ApiError;
use crate::base::percent::encode;

/// How long a client's request waits for all other servers together.
pub const TIMEOUT: Duration = Duration::from_secs(10);

const MAX_ANSWER: usize = 2 * 1024 * 1024;
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many servers are asked about one room, and how many rooms are asked about at the same time.
const MAX_SERVERS: usize = 3;
const CONCURRENCY: usize = 10;
/// How long an answer is cached, a refusal, and that no server answered. A refusal ends when a user of this
/// server joins a room, which no cache is told of, and costs a server little.
const ANSWER_LIFE: Duration = Duration::from_secs(300);
const REFUSAL_LIFE: Duration = Duration::from_secs(3);
const SILENCE_LIFE: Duration = Duration::from_secs(60);
/// The size of the cache in bytes, and the least that an entry counts as.
const MAX_KEPT_BYTES: u64 = 32 * 1024 * 1024;
const MIN_ANSWER_BYTES: usize = 4 * 1024;

/// A room that servers were asked about, and the answer of one of them, if there was any.
#[derive(Clone, Debug)]
pub struct Asked {
    room_id: String,
    answer: Option<Arc<RawValue>>,
}

/// The answers as JSON for SQL functions; `None` if no server was asked.
pub fn as_json(asked: &[Asked]) -> Result<Option<String>, ApiError> {
    if asked.is_empty() {
        return Ok(None);
    }
    let answers: Vec<RoomAnswer<'_>> = asked
        .iter()
        .map(|Asked { room_id, answer }| RoomAnswer { room_id: room_id.into(), answer: answer.as_deref() })
        .collect();
    serde_json::to_string(&answers).map(Some).map_err(|_| ApiError::internal())
}

/// This node's cache of other servers' answers. Cheap to clone.
#[derive(Clone)]
pub struct Hierarchies {
    federation: Federation,
    kept: Cache<String, Kept>,
}

/// A cached answer about a room, or that no server answered.
#[derive(Clone)]
struct Kept {
    answer: Option<Arc<RawValue>>,
    until: Instant,
}

impl Kept {
    fn bytes(&self) -> u32 {
        let bytes = self.answer.as_ref().map_or(0, |answer| answer.get().len());
        u32::try_from(bytes.max(MIN_ANSWER_BYTES)).unwrap_or(u32::MAX)
    }
}

impl Hierarchies {
    /// Starts with an empty cache.
    pub fn new(federation: Federation) -> Self {
        let kept = bounded(MAX_KEPT_BYTES).weigher(|_: &String, kept: &Kept| kept.bytes()).build();
        Self { federation, kept }
    }

    /// Looks up answers about rooms in the cache, or asks servers. `answer` is `None` for rooms that no
    /// server answered about by `deadline`.
    pub async fn ask(&self, wanted: Vec<RoomQuestion>, deadline: Instant) -> Vec<Asked> {
        stream::iter(wanted)
            .map(|wanted| async move {
                let answer = match self.recall(&wanted.room_id) {
                    Some(answer) => answer,
                    None => timeout_at(deadline, self.ask_about(&wanted)).await.unwrap_or_default(),
                };
                Asked { room_id: wanted.room_id, answer }
            })
            .buffered(CONCURRENCY)
            .collect()
            .await
    }

    async fn ask_about(&self, wanted: &RoomQuestion) -> Option<Arc<RawValue>> {
        let RoomQuestion { room_id, via } = wanted;
        let federation = &self.federation;
        let path = format!("/_matrix/federation/v1/hierarchy/{}?suggested_only=false", encode(room_id));
        let is_other = |server: &&String| is_server_name(server) && federation.is_other_server(server);
        let mut life = SILENCE_LIFE;
        for server in via.iter().filter(is_other).take(MAX_SERVERS) {
            let request = Request {
                method: Method::GET,
                destination: server,
                path: &path,
                body: None,
                max_answer: MAX_ANSWER,
                timeout: federation.http.timeout().min(SERVER_TIMEOUT),
            };
            match federation.http.send(request).await {
                Ok(answer) => {
                    let answer: Arc<RawValue> = to_raw_value(&*answer).ok()?.into();
                    self.keep(room_id, Some(Arc::clone(&answer)), ANSWER_LIFE);
                    return Some(answer);
                }
                Err(FederationError::Internal(_)) => return None,
                Err(error) => {
                    debug!(room_id, server, %error, "a server did not answer about a room");
                    if matches!(error, FederationError::Refused { status, .. } if status.is_client_error()) {
                        life = REFUSAL_LIFE;
                    }
                }
            }
        }
        self.keep(room_id, None, life);
        None
    }

    fn recall(&self, room_id: &str) -> Option<Option<Arc<RawValue>>> {
        let kept = self.kept.get(room_id)?;
        (kept.until > Instant::now()).then_some(kept.answer)
    }

    fn keep(&self, room_id: &str, answer: Option<Arc<RawValue>>, life: Duration) {
        self.kept.insert(room_id.to_owned(), Kept { answer, until: Instant::now() + life });
    }
}
