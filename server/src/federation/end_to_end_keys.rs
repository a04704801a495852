//! Fetches and claims device keys of remote users on behalf of clients. Server-Server API, "End-to-End
//! Encryption".

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use axum::http::Method;
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::server_name;
use serde_json::{Map, Value, json};
use tracing::debug;

use super::base::Federation;
use super::http_client::{Answer, FederationError, Request};
use crate::base::error::ApiError;

/// How many servers are asked at the same time for one client request.
const CONCURRENCY: usize = 20;
/// The longest answer of one server that is read, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;
/// The timeout if the client sends none, as the specification recommends.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

const TO_FETCH: &str = "select user_id, updates from matriarch.device_lists_to_fetch($1)";
const STORE: &str = "select matriarch.store_remote_keys($1, $2, $3, $4)";

/// Splits the users under `key` of the client's request by their server, and drops local users.
fn by_server(
    federation: &Federation,
    request: &Map<String, Value>,
    key: &str,
) -> BTreeMap<String, Map<String, Value>> {
    let mut servers: BTreeMap<String, Map<String, Value>> = BTreeMap::new();
    for (user_id, wanted) in request.get(key).and_then(Value::as_object).into_iter().flatten() {
        if let Some(server) = server_name(user_id).filter(|server| federation.is_other_server(server)) {
            servers.entry(server.to_owned()).or_default().insert(user_id.clone(), wanted.clone());
        }
    }
    servers
}

fn timeout(request: &Map<String, Value>) -> Duration {
    let asked = request.get("timeout").and_then(Value::as_u64).map(Duration::from_millis);
    asked.unwrap_or(DEFAULT_TIMEOUT).min(DEFAULT_TIMEOUT * 3)
}

/// Whether the request names users of other servers under `key`.
pub fn concerns_other_servers(federation: &Federation, request: &Map<String, Value>, key: &str) -> bool {
    !by_server(federation, request, key).is_empty()
}

/// Asks the servers of remote users in a client's `POST /keys/query` whose device lists are not current here,
/// and stores their answers. Returns the servers that answered.
pub async fn fetch_keys(
    federation: &Federation,
    request: &Map<String, Value>,
) -> Result<Vec<String>, ApiError> {
    let timeout = timeout(request);
    let mut servers = by_server(federation, request, "device_keys");
    // `text` cannot hold U+0000, so no user has such an id.
    let user_ids: Vec<&String> =
        servers.values().flat_map(Map::keys).filter(|user_id| !user_id.contains('\0')).collect();
    let to_fetch = federation.db.query(TO_FETCH, &[&user_ids]).await?;
    let updates: HashMap<String, i64> =
        to_fetch.iter().map(|row| (row.get("user_id"), row.get("updates"))).collect();
    servers.values_mut().for_each(|users| users.retain(|user_id, _| updates.contains_key(user_id)));
    servers.retain(|_, users| !users.is_empty());
    let answers = ask_all(federation, servers, "query", "device_keys", timeout).await?;
    let mut answered = Vec::new();
    for (server, users, answer) in answers {
        let is_all = |wanted: &Value| wanted.as_array().is_some_and(Vec::is_empty);
        let all = users.into_iter().filter(|(_, wanted)| is_all(wanted));
        let (complete, updates): (Vec<String>, Vec<i64>) =
            all.filter_map(|(user_id, _)| updates.get(&user_id).map(|updates| (user_id, *updates))).unzip();
        let answer = Value::from(answer).to_string();
        federation.db.query(STORE, &[&server, &answer, &complete, &updates]).await?;
        answered.push(server);
    }
    Ok(answered)
}

/// Claims one-time keys of remote users for a client's `POST /keys/claim`, and adds them to `answer`.
/// `answer` already contains the keys of local users and a failure for each other server; the failures of
/// servers that answer are removed.
pub async fn claim_remote(
    federation: &Federation,
    request: &Map<String, Value>,
    answer: &mut Map<String, Value>,
) -> Result<(), ApiError> {
    let timeout = timeout(request);
    let answers = ask_all(
        federation,
        by_server(federation, request, "one_time_keys"),
        "claim",
        "one_time_keys",
        timeout,
    )
    .await?;
    for (server, users, mut keys) in answers {
        if let Some(failures) = answer.get_mut("failures").and_then(Value::as_object_mut) {
            failures.remove(&server);
        }
        let claimed = match keys.remove("one_time_keys") {
            Some(Value::Object(claimed)) => claimed,
            _ => continue,
        };
        if let Some(all) = answer.get_mut("one_time_keys").and_then(Value::as_object_mut) {
            // Keep only users that this server was asked about: they are its own.
            all.extend(
                claimed.into_iter().filter(|(user_id, keys)| users.contains_key(user_id) && keys.is_object()),
            );
        }
    }
    Ok(())
}

type Answered = (String, Map<String, Value>, Answer);

/// Asks several servers concurrently, each about its own users. Leaves out servers that fail.
async fn ask_all(
    federation: &Federation,
    servers: BTreeMap<String, Map<String, Value>>,
    endpoint: &str,
    key: &str,
    timeout: Duration,
) -> Result<Vec<Answered>, ApiError> {
    let path = format!("/_matrix/federation/v1/user/keys/{endpoint}");
    let ask = |(server, users): (String, Map<String, Value>)| {
        let body = json!({ key: users });
        let path = &path;
        async move {
            let request = Request {
                method: Method::POST,
                destination: &server,
                path,
                body: Some(&body),
                max_answer: MAX_ANSWER,
                timeout,
            };
            let answer = tokio::time::timeout(timeout, federation.http.send(request)).await;
            match answer {
                Ok(Ok(answer)) => Ok(Some((server, users, answer))),
                Ok(Err(FederationError::Internal(error))) => Err(error),
                Ok(Err(error)) => {
                    debug!(server, %error, endpoint, "no keys of users");
                    Ok(None)
                }
                Err(_) => Ok(None),
            }
        }
    };
    let answers: Vec<Result<Option<Answered>, ApiError>> =
        stream::iter(servers).map(ask).buffer_unordered(CONCURRENCY).collect().await;
    answers.into_iter().filter_map(Result::transpose).collect()
}
