//! Asks policy servers to sign events. Server-Server API, "Policy Servers".

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::{StreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout};
use tracing::{Instrument, debug, info};

use super::client::{Client, FederationError, Request};
use crate::db::{Db, MatrixResponse};
use crate::error::ApiError;
use crate::state::AppState;

/// Policy servers sign by this key id whatever the key.
const KEY_ID: &str = "ed25519:policy_server";
/// How long a policy server may take: somebody waits to speak.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes: a signature.
const MAX_ANSWER: usize = 64 * 1024;
/// How long one that does not answer is left alone, first and at most; events are refused meanwhile.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long an answer waits for events that merely follow from the request, and how many of those are signed at a time.
const PATIENCE: Duration = Duration::from_secs(3);
const CONCURRENCY: usize = 8;
/// How many that do not answer are remembered.
const REMEMBERED: usize = 10_000;

const APPEND: &str =
    "select status, body, wake_rooms, wake_users from matriarch.append_signed($1, $2, $3, $4)";

/// The policy servers that did not answer. Cheap to clone.
#[derive(Clone, Default)]
pub struct PolicyServers(Arc<Mutex<HashMap<String, Pause>>>);

#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

/// What a function answers that made an event for a policy server to sign.
#[derive(Deserialize)]
pub struct Unsigned {
    policy_server: String,
    room_id: String,
    event: Map<String, Value>,
    device_nid: Option<i64>,
    txn_id: Option<String>,
    answer: Value,
    /// Where the same request, with the signed event, is to be made again.
    pub created_at: Option<i64>,
}

/// The answer to a request, and what is to be signed and appended beside.
#[derive(Deserialize)]
struct Afterwards {
    answer: String,
    unsigned: Vec<Unsigned>,
}

impl PolicyServers {
    /// Adds a policy server's signature to an event.
    ///
    /// # Errors
    ///
    /// What the policy server refuses with; that it does not answer, or did not lately.
    pub async fn sign(
        &self,
        client: &Client,
        db: &Db,
        server: &str,
        event: &mut Map<String, Value>,
    ) -> Result<(), FederationError> {
        if self.pauses().get(server).is_some_and(|pause| Instant::now() < pause.until) {
            let reason = "it did not answer lately".to_owned();
            return Err(FederationError::Unreachable { server: server.to_owned(), reason });
        }
        let mut asked = event.clone();
        asked.remove("unsigned");
        let request = Request {
            method: Method::POST,
            destination: server,
            path: "/_matrix/policy/v1/sign",
            body: Some(&Value::Object(asked)),
            max_answer: MAX_ANSWER,
            timeout: TIMEOUT.min(client.timeout()),
        };
        let answer = client.send(db, request).await;
        self.note(server, &answer);
        let answer = answer?;
        let signature = answer.get(server).and_then(|keys| keys.get(KEY_ID)).filter(|it| it.is_string());
        let signature = signature.ok_or_else(|| FederationError::BadAnswer {
            server: server.to_owned(),
            reason: "it has no signature of a policy server".to_owned(),
        })?;
        // The server may have signed the event as its sender's, too.
        let signatures = event.entry("signatures").or_insert_with(|| json!({}));
        let of_server = signatures.as_object_mut().map(|all| all.entry(server).or_insert_with(|| json!({})));
        if let Some(Value::Object(of_server)) = of_server {
            of_server.insert(KEY_ID.to_owned(), signature.clone());
        }
        Ok(())
    }

    /// Remembers whether a policy server answers.
    fn note<T>(&self, server: &str, answer: &Result<T, FederationError>) {
        let is_silent = match answer {
            Err(FederationError::Unreachable { .. }) => true,
            Err(FederationError::Refused { status, .. }) => status.is_server_error(),
            _ => false,
        };
        let mut pauses = self.pauses();
        if !is_silent {
            pauses.remove(server);
            return;
        }
        if pauses.len() >= REMEMBERED {
            pauses.clear();
        }
        let last = pauses.get(server).map(|pause| pause.length * 2);
        let length = last.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        pauses.insert(server.to_owned(), Pause { until: Instant::now() + length, length });
        info!(server, pause_s = length.as_secs(), "a policy server does not answer");
    }

    fn pauses(&self) -> MutexGuard<'_, HashMap<String, Pause>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the event in an answer of status 428 signed and appended, and gives the answer to the request. What an answer of status 202
/// leaves for afterwards is begun. Other answers stay as they are.
pub async fn complete(app: &AppState, answer: MatrixResponse) -> Result<MatrixResponse, ApiError> {
    match answer.status {
        StatusCode::PRECONDITION_REQUIRED => {
            let unsigned: Unsigned = serde_json::from_str(&answer.body).map_err(|_| ApiError::internal())?;
            let appended = append(app, &unsigned).await?;
            Ok(if appended.status == StatusCode::OK { MatrixResponse::of(unsigned.answer) } else { appended })
        }
        StatusCode::ACCEPTED => {
            let Afterwards { answer: body, unsigned } =
                serde_json::from_str(&answer.body).map_err(|_| ApiError::internal())?;
            let appended = tokio::spawn(append_all(app.clone(), unsigned).in_current_span());
            // Who asked sees what they did, as a rule; but nobody waits for policy servers that are slow.
            drop(timeout(PATIENCE, appended).await);
            Ok(MatrixResponse { status: StatusCode::OK, body, ..answer })
        }
        _ => Ok(answer),
    }
}

/// Has an event signed that an answer of status 428 holds; the event as it is then.
///
/// # Errors
///
/// As [`for_client`].
pub async fn signed(app: &AppState, unsigned: &Unsigned) -> Result<String, ApiError> {
    let mut event = unsigned.event.clone();
    let federation = &app.federation;
    let server = &unsigned.policy_server;
    let signed = federation.policy_servers.sign(&federation.client, &app.db, server, &mut event).await;
    signed.map_err(for_client)?;
    Ok(Value::Object(event).to_string())
}

async fn append(app: &AppState, unsigned: &Unsigned) -> Result<MatrixResponse, ApiError> {
    let event = signed(app, unsigned).await?;
    let Unsigned { room_id, device_nid, txn_id, .. } = unsigned;
    let appended = app.db.call(APPEND, &[room_id, &event, device_nid, txn_id]).await?;
    app.hub.wake(&appended.wake_rooms, &appended.wake_users);
    Ok(appended)
}

/// Appends what follows from a request that was answered. Who is refused here keeps what the room has.
async fn append_all(app: AppState, all: Vec<Unsigned>) {
    let append = |unsigned: Unsigned| {
        let app = &app;
        async move {
            let error = match append(app, &unsigned).await {
                Ok(appended) if appended.status.is_success() => return,
                Ok(appended) => appended.body,
                Err(error) => error.message.into_owned(),
            };
            info!(room_id = unsigned.room_id, error, "an event that was to follow a request was not sent");
        }
    };
    stream::iter(all).map(append).buffer_unordered(CONCURRENCY).collect::<()>().await;
}

/// What the policy server refuses with is told as it stands.
pub fn for_client(error: FederationError) -> ApiError {
    debug!(%error, "a policy server did not sign an event");
    match error {
        FederationError::Refused { status, errcode, error, .. }
            if status.is_client_error() && errcode.starts_with("M_") =>
        {
            ApiError::new(status, errcode, error)
        }
        error => error.for_client(),
    }
}
