//! Spaces across servers. Server-Server API, "Spaces".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::Method;
use axum::routing::get;
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::is_server_name;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use super::authentication::ServerRequest;
use super::client::{FederationError, Request};
use super::membership::encode;
use crate::db::MatrixResponse;
use crate::error::ApiError;
use crate::http::{Path, Query};
use crate::state::AppState;

/// How long a client waits for other servers, in all.
pub const PATIENCE: Duration = Duration::from_secs(10);

const MAX_ANSWER: usize = 2 * 1024 * 1024;
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);
/// How many servers are asked about a room, and about how many rooms at the same time.
const MAX_SERVERS: usize = 3;
const CONCURRENCY: usize = 10;
/// How long an answer is good, and how long nobody is asked again where there was none.
const ANSWER_LIFE: Duration = Duration::from_secs(300);
const FAILURE_LIFE: Duration = Duration::from_secs(60);
/// Bytes of answers that are kept, and how many.
const MAX_KEPT_BYTES: usize = 32 * 1024 * 1024;
const MAX_KEPT: usize = 10_000;

const HIERARCHY: &str =
    "select status, body, wake_rooms, wake_users from matriarch.federation_hierarchy($1, $2, $3)";

/// The routes of this module.
pub fn routes() -> Router<AppState> {
    Router::new().route("/_matrix/federation/v1/hierarchy/{room_id}", get(hierarchy))
}

#[derive(Deserialize)]
struct Parameters {
    #[serde(default)]
    suggested_only: bool,
}

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
async fn hierarchy(
    State(app): State<AppState>,
    Path(room_id): Path<String>,
    Query(Parameters { suggested_only }): Query<Parameters>,
    request: ServerRequest,
) -> Result<MatrixResponse, ApiError> {
    app.call(HIERARCHY, &[&request.origin, &room_id, &suggested_only]).await
}

/// A room that servers are to be asked about.
#[derive(Debug, Deserialize)]
pub struct Wanted {
    pub room_id: String,
    pub via: Vec<String>,
}

/// What a server answered about a room, as SQL functions take it.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    pub room_id: String,
    /// Absent where no server gave one.
    #[serde(serialize_with = "as_it_is")]
    answer: Option<Arc<RawValue>>,
}

fn as_it_is<S: Serializer>(answer: &Option<Arc<RawValue>>, serializer: S) -> Result<S::Ok, S::Error> {
    answer.as_deref().serialize(serializer)
}

/// What other servers answered lately, at this node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Hierarchies {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    answers: HashMap<String, (Instant, Option<Arc<RawValue>>)>,
    bytes: usize,
}

impl Hierarchies {
    /// Asks servers about rooms, or remembers what they answered. Those that do not answer by `deadline` have none.
    pub async fn ask(&self, app: &AppState, wanted: Vec<Wanted>, deadline: Instant) -> Vec<Asked> {
        stream::iter(wanted)
            .map(|wanted| async move {
                let answer = match self.recall(&wanted.room_id) {
                    Some(answer) => answer,
                    None => timeout_at(deadline, self.ask_about(app, &wanted)).await.unwrap_or_default(),
                };
                Asked { room_id: wanted.room_id, answer }
            })
            .buffered(CONCURRENCY)
            .collect()
            .await
    }

    async fn ask_about(&self, app: &AppState, wanted: &Wanted) -> Option<Arc<RawValue>> {
        let Wanted { room_id, via } = wanted;
        let client = &app.federation.client;
        let path = format!("/_matrix/federation/v1/hierarchy/{}?suggested_only=false", encode(room_id));
        let is_other = |server: &&String| is_server_name(server) && app.is_other_server(server);
        for server in via.iter().filter(is_other).take(MAX_SERVERS) {
            let request = Request {
                method: Method::GET,
                destination: server,
                path: &path,
                body: None,
                max_answer: MAX_ANSWER,
                timeout: client.timeout().min(SERVER_TIMEOUT),
            };
            match client.send(&app.db, request).await {
                Ok(answer) => {
                    let answer: Arc<RawValue> = to_raw_value(&answer).ok()?.into();
                    self.keep(room_id, Some(Arc::clone(&answer)));
                    return Some(answer);
                }
                Err(FederationError::Internal(_)) => return None,
                Err(error) => debug!(room_id, server, %error, "asked about a room in vain"),
            }
        }
        self.keep(room_id, None);
        None
    }

    fn recall(&self, room_id: &str) -> Option<Option<Arc<RawValue>>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = kept.answers.get(room_id)?;
        (*until > Instant::now()).then(|| answer.clone())
    }

    fn keep(&self, room_id: &str, answer: Option<Arc<RawValue>>) {
        let size = |answer: &Option<Arc<RawValue>>| answer.as_ref().map_or(0, |answer| answer.get().len());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.answers.len() >= MAX_KEPT || kept.bytes + size(&answer) > MAX_KEPT_BYTES {
            *kept = Kept::default();
        }
        kept.bytes += size(&answer);
        let life = if answer.is_some() { ANSWER_LIFE } else { FAILURE_LIFE };
        if let Some((_, old)) = kept.answers.insert(room_id.to_owned(), (Instant::now() + life, answer)) {
            kept.bytes = kept.bytes.saturating_sub(size(&old));
        }
    }
}
