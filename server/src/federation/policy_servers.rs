//! Asks policy servers to sign events. Server-Server API, "Policy Servers".

use std::time::Duration;

use axum::http::Method;
use moka::sync::Cache;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use tracing::{debug, info};

use super::http_client::{FederationError, HttpClient, Request};
use crate::base::cache::bounded;
use crate::base::error::ApiError;

/// Policy servers always sign with this key id.
const KEY_ID: &str = "ed25519:policy_server";
/// How long a policy server may take. Short, as a user waits for the event to be sent.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes. It contains a signature.
const MAX_ANSWER: usize = 64 * 1024;
/// The first and the longest pause after a policy server did not answer. Events are refused meanwhile.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How many policy servers that do not answer are remembered.
const REMEMBERED: u64 = 10_000;

/// Policy servers, and which of them did not answer. Cheap to clone.
#[derive(Clone)]
pub struct PolicyServers {
    http: HttpClient,
    pauses: Cache<String, Pause>,
}

#[derive(Clone, Copy)]
struct Pause {
    until: Instant,
    length: Duration,
}

impl PolicyServers {
    /// Starts without any pauses.
    pub fn new(http: HttpClient) -> Self {
        Self { http, pauses: bounded(REMEMBERED).build() }
    }

    /// Adds a policy server's signature to an event.
    ///
    /// # Errors
    ///
    /// The policy server's refusal; or that it does not answer, or is paused.
    pub async fn sign(&self, server: &str, event: &mut Map<String, Value>) -> Result<(), FederationError> {
        if self.pauses.get(server).is_some_and(|pause| Instant::now() < pause.until) {
            return Err(FederationError::unreachable(server, "it did not answer lately"));
        }
        let mut asked = event.clone();
        asked.remove("unsigned");
        let request = Request {
            method: Method::POST,
            destination: server,
            path: "/_matrix/policy/v1/sign",
            body: Some(&Value::Object(asked)),
            max_answer: MAX_ANSWER,
            timeout: TIMEOUT.min(self.http.timeout()),
        };
        let answer = self.http.send(request).await;
        self.note(server, &answer);
        let answer = answer?;
        let signature = answer.get(server).and_then(|keys| keys.get(KEY_ID)).filter(|it| it.is_string());
        let signature = signature
            .ok_or_else(|| FederationError::bad_answer(server, "it has no signature of a policy server"))?;
        // Keep other signatures of the same server: the sender may be its user.
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
        if !is_silent {
            self.pauses.invalidate(server);
            return;
        }
        let last = self.pauses.get(server).map(|pause| pause.length * 2);
        let length = last.unwrap_or(FIRST_PAUSE).min(LONGEST_PAUSE);
        self.pauses.insert(server.to_owned(), Pause { until: Instant::now() + length, length });
        info!(server, pause_s = length.as_secs(), "a policy server does not answer");
    }
}

/// The error for the client. A refusal with a Matrix errcode is passed on unchanged.
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
