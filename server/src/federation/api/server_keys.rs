//! This server's signing keys, and other servers' keys as a notary. Server-Server API, "Retrieving server
//! keys".

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::StreamExt;
use futures_util::stream;
use matriarch_rules::identifiers::is_server_name;
use serde::Deserialize;
use serde_json::{Map, Value};
use tracing::debug;

use crate::app::App;
use crate::base::error::ApiError;
use crate::federation::server_keys::{has_key, now_ts, own};
use crate::http::{JsonBody, Network, Path, Query, json_response};

/// The most keys of a server in one query.
const MAX_KEYS: usize = 100;
/// The most servers in one query.
const MAX_SERVERS: usize = 100;
/// How many of them are asked at the same time.
const CONCURRENCY: usize = 10;

const RESPONSE: &str =
    "select response, valid_until_ts from matriarch.server_key_responses where server_name = $1";

/// The last answers that had these keys, without duplicates.
const DROPPED: &str = "
select distinct response
from matriarch.dropped_server_keys
where server_name = $1 and key_id = any($2)";

const SIGN: &str = "select matriarch.sign_server_keys($1) as signed";

/// The routes of this module.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/_matrix/key/v2/server", get(published))
        // Deprecated: the key id is ignored.
        .route("/_matrix/key/v2/server/", get(published))
        .route("/_matrix/key/v2/server/{key_id}", get(published))
        .route("/_matrix/key/v2/query", post(query_many))
        .route("/_matrix/key/v2/query/{server_name}", get(query_one))
        // Deprecated: the key id is ignored.
        .route("/_matrix/key/v2/query/{server_name}/{key_id}", get(query_one_key))
}

/// `GET /_matrix/key/v2/server`
async fn published(State(app): State<App>) -> Result<Response, ApiError> {
    Ok(json_response(StatusCode::OK, own(&app.db).await?))
}

#[derive(Deserialize)]
struct Parameters {
    minimum_valid_until_ts: Option<i64>,
}

/// The query criteria of a key.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Criteria {
    minimum_valid_until_ts: Option<i64>,
}

#[derive(Deserialize)]
struct Body {
    server_keys: BTreeMap<String, BTreeMap<String, Criteria>>,
}

/// `GET /_matrix/key/v2/query/{serverName}`
async fn query_one(
    State(app): State<App>,
    network: Network,
    Path(server_name): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Result<Response, ApiError> {
    app.rates.unsigned_federation(network.0)?;
    let minimum = parameters.minimum_valid_until_ts;
    answer(&app, vec![Wanted { server_name, key_ids: Vec::new(), minimum }]).await
}

async fn query_one_key(
    app: State<App>,
    network: Network,
    Path((server_name, _key_id)): Path<(String, String)>,
    parameters: Query<Parameters>,
) -> Result<Response, ApiError> {
    query_one(app, network, Path(server_name), parameters).await
}

/// `POST /_matrix/key/v2/query`
async fn query_many(
    State(app): State<App>,
    network: Network,
    JsonBody(body): JsonBody<Body>,
) -> Result<Response, ApiError> {
    app.rates.unsigned_federation(network.0)?;
    if body.server_keys.len() > MAX_SERVERS {
        return Err(ApiError::invalid_param("Too many servers in one question"));
    }
    let wanted = |(server_name, keys): (String, BTreeMap<String, Criteria>)| {
        let minimum = keys.values().filter_map(|criteria| criteria.minimum_valid_until_ts).max();
        let key_ids = keys.into_keys().filter(|key_id| !key_id.contains('\0')).take(MAX_KEYS).collect();
        Wanted { server_name, key_ids, minimum }
    };
    answer(&app, body.server_keys.into_iter().map(wanted).collect()).await
}

/// What is asked of a server's keys.
struct Wanted {
    server_name: String,
    /// Empty: all keys.
    key_ids: Vec<String>,
    /// Until when they are to be valid.
    minimum: Option<i64>,
}

/// Answers with the keys of servers. Fetches keys again that are not valid until the requested time. Of keys
/// that a server has dropped, the last answers that had them are added.
async fn answer(app: &App, wanted: Vec<Wanted>) -> Result<Response, ApiError> {
    let found: Vec<Result<Vec<String>, ApiError>> = stream::iter(wanted)
        .map(|wanted| async move {
            let newest = find(app, &wanted.server_name, wanted.minimum).await?;
            let dropped = find_dropped(app, &wanted, newest.as_deref()).await?;
            Ok(newest.into_iter().chain(dropped).collect())
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let found: Vec<String> = found.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    let row = app.db.query_opt(SIGN, &[&found]).await?.ok_or_else(ApiError::internal)?;
    let signed: Vec<String> = row.get("signed");
    Ok(json_response(StatusCode::OK, format!("{{\"server_keys\":[{}]}}", signed.join(","))))
}

async fn find(app: &App, server_name: &str, minimum: Option<i64>) -> Result<Option<String>, ApiError> {
    if !is_server_name(server_name) {
        return Ok(None);
    }
    if server_name == app.config.server_name {
        return Ok(Some(own(&app.db).await?));
    }
    let stored = || async {
        let row = app.db.query_opt(RESPONSE, &[&server_name]).await?;
        Ok::<_, ApiError>(
            row.map(|row| (row.get::<_, String>("response"), row.get::<_, i64>("valid_until_ts"))),
        )
    };
    let known = stored().await?;
    let minimum = minimum.unwrap_or_else(now_ts);
    if known.as_ref().is_some_and(|(_, valid_until_ts)| *valid_until_ts >= minimum) {
        return Ok(known.map(|(response, _)| response));
    }
    match app.federation.key_ring.fetch(server_name).await {
        Ok(()) => Ok(stored().await?.map(|(response, _)| response)),
        // A notary continues to answer for servers that do not answer any more.
        Err(error) => {
            debug!(server_name, %error, "no newer keys");
            Ok(known.map(|(response, _)| response))
        }
    }
}

/// The last answers that had those keys that the newest answer does not have.
async fn find_dropped(app: &App, wanted: &Wanted, newest: Option<&str>) -> Result<Vec<String>, ApiError> {
    let newest: Map<String, Value> =
        newest.and_then(|newest| serde_json::from_str(newest).ok()).unwrap_or_default();
    let lacking: Vec<&String> = wanted.key_ids.iter().filter(|key_id| !has_key(&newest, key_id)).collect();
    if lacking.is_empty() {
        return Ok(Vec::new());
    }
    let rows = app.db.query(DROPPED, &[&wanted.server_name, &lacking]).await?;
    Ok(rows.iter().map(|row| row.get("response")).collect())
}
