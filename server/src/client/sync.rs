//! `GET /sync`: returns what is new, and waits until there is something new. Client-Server API, "Syncing".

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use axum::routing::get;
use matriarch_wire::SyncRequest;
use serde::Deserialize;
use tokio::time::Instant;
use tracing::info;

use super::versions;
use crate::app::App;
use crate::base::error::ApiError;
use crate::calls::acknowledge::Acknowledgement;
use crate::calls::presence;
use crate::calls::sync::Sync;
use crate::config::Config;
use crate::http::{AccessToken, ClientRoutes, Query, json_response};
use crate::hub::Woken;

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new().client_v3("/sync", get(sync))
}

/// The query parameters.
#[derive(Deserialize)]
struct Parameters {
    since: Option<String>,
    filter: Option<String>,
    #[serde(default)]
    full_state: bool,
    /// Ignored until the server claims the release that has it; see [`wants_state_after`].
    #[serde(default)]
    use_state_after: bool,
    /// The parameter's name before it was stable.
    #[serde(default, rename = "org.matrix.msc4222.use_state_after")]
    unstable_use_state_after: bool,
    #[serde(default)]
    set_presence: presence::State,
    /// In milliseconds.
    timeout: Option<u64>,
}

/// The release of the specification with `use_state_after`.
const STATE_AFTER_RELEASE: &str = "v1.16";

/// The user agents whose use of `use_state_after` was logged, and the most that are remembered.
static LOGGED_AGENTS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
const MAX_LOGGED_AGENTS: usize = 100;

/// Whether the client gets `state_after` by its stable name, for which it asks.
///
/// Some clients ask for it at every server, and then look for the state in its old place only: they take
/// encrypted rooms for plain ones, and send in clear. A server that does not claim the release may ignore the
/// parameter. The log names such clients, each once.
fn wants_state_after(headers: &HeaderMap) -> bool {
    if versions::claims(STATE_AFTER_RELEASE) {
        return true;
    }
    let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
    let agent: String = agent.chars().take(100).collect();
    let mut logged = LOGGED_AGENTS.lock().unwrap_or_else(PoisonError::into_inner);
    if logged.len() < MAX_LOGGED_AGENTS && logged.insert(agent.clone()) {
        info!(
            agent,
            "a client asks for use_state_after, although this server does not claim {STATE_AFTER_RELEASE}: \
             see docs/sync.md"
        );
    }
    false
}

/// The deadline of a long poll with this `timeout` in milliseconds; bounded by `limits.max_sync_timeout`.
pub fn deadline(config: &Config, timeout: Option<u64>) -> Instant {
    let longest = Duration::from_secs(config.limits.max_sync_timeout);
    Instant::now() + timeout.map_or(Duration::ZERO, Duration::from_millis).min(longest)
}

/// `GET /_matrix/client/v3/sync`
async fn sync(
    State(app): State<App>,
    token: AccessToken,
    headers: HeaderMap,
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
    let use_state_after = use_state_after && wants_state_after(&headers);
    let mut request =
        SyncRequest { since, filter, full_state, use_state_after, unstable_use_state_after, presence };
    let deadline = deadline(&app.config, timeout);
    let mut is_noted = false;
    loop {
        let mark = app.hub.mark();
        let sync = Sync { token, request: serde_json::to_string(&request).unwrap_or_default() };
        let answer = app.syncs.submit(sync, request.since.as_deref()).await??;
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
            // The empty answer contains all that the client's filter admits, so the next request continues
            // from its token. That token acknowledges no more messages than the client's own: a new message
            // would be news.
            Woken::News => request.since = answer.token("next_batch").or(request.since),
            Woken::Timeout | Woken::Shutdown => return Ok(json_response(answer.status, answer.body)),
        }
    }
}
