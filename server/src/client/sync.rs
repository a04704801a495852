//! `GET /sync`: returns what is new, and waits until there is something new. Client-Server API, "Syncing".

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use matriarch_wire::SyncRequest;
use serde::Deserialize;
use tokio::time::Instant;

use crate::app::App;
use crate::base::error::ApiError;
use crate::calls::acknowledge::Acknowledgement;
use crate::calls::presence;
use crate::calls::sync::{Sync, shard};
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

/// The deadline of a long poll with this `timeout` in milliseconds; bounded by `limits.max_sync_timeout`.
pub fn deadline(config: &Config, timeout: Option<u64>) -> Instant {
    let longest = Duration::from_secs(config.limits.max_sync_timeout);
    Instant::now() + timeout.map_or(Duration::ZERO, Duration::from_millis).min(longest)
}

/// `GET /_matrix/client/v3/sync`
async fn sync(
    State(app): State<App>,
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
        SyncRequest { since, filter, full_state, use_state_after, unstable_use_state_after, presence };
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
            // The empty answer contains all that the client's filter admits, so the next request continues
            // from its token. That token acknowledges no more messages than the client's own: a new message
            // would be news.
            Woken::News => request.since = answer.token("next_batch").or(request.since),
            Woken::Timeout | Woken::Shutdown => return Ok(json_response(answer.status, answer.body)),
        }
    }
}
