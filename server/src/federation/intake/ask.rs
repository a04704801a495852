//! Asks other servers, one after the other, within the budget of the intake.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use parking_lot::MutexGuard;
use serde_json::Value;
use tracing::debug;

use super::Intake;
use super::batch::Unavailable;
use super::surroundings::Surroundings;
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;
use crate::federation::http_client::{FederationError, Request};

/// How many other servers are asked if those of the batch fail, and how long each may take.
const MAX_OTHERS: i32 = 3;
const OTHERS_TIMEOUT: Duration = Duration::from_secs(10);

/// What was fetched, or why it cannot be. The outer error is one of this server's database.
pub(super) type Fetched<T> = Result<Result<T, Unavailable>, ApiError>;

/// Whether the same request may be answered later.
fn is_passing(error: &FederationError) -> bool {
    match error {
        FederationError::Unreachable { .. } | FederationError::Internal(_) => true,
        FederationError::Refused { status, .. } => {
            status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
        }
        FederationError::BadAnswer { .. } | FederationError::NotAdmitted(_) => false,
    }
}

/// For what cannot be fetched later either.
pub(super) fn lost(reason: impl Into<String>) -> Unavailable {
    Unavailable { reason: reason.into(), later: false }
}

impl<S: Surroundings> Intake<'_, S> {
    /// Asks servers in turn until `read` accepts an answer: first the servers of the batch, then others in
    /// the room.
    pub(super) async fn ask<T: Send>(
        &self,
        path: &str,
        body: Option<&Value>,
        max_answer: usize,
        read: impl Fn(RawObject) -> Option<T> + Sync,
    ) -> Fetched<T> {
        let mut why = lost("there is no server to ask");
        let timeout = self.surroundings.timeout();
        for server in self.servers {
            match self.ask_one(server, path, body, max_answer, timeout, &read).await? {
                Ok(found) => return Ok(Ok(found)),
                Err(error) => why = Unavailable { later: why.later || error.later, ..error },
            }
        }
        for server in self.others().await? {
            if !self.budget.others.take() {
                break;
            }
            if let Ok(found) =
                self.ask_one(server, path, body, max_answer, timeout.min(OTHERS_TIMEOUT), &read).await?
            {
                return Ok(Ok(found));
            }
        }
        Ok(Err(why))
    }

    /// Servers in the room that the batch does not name.
    pub(super) async fn others(&self) -> Result<&[String], ApiError> {
        let beside = self.servers.first().map(String::as_str).unwrap_or_default();
        let others = self.others.get_or_try_init(|| async {
            let mut others = self.surroundings.servers(self.room_id, beside, MAX_OTHERS).await?;
            others.retain(|server| !self.servers.contains(server));
            Ok::<Vec<String>, ApiError>(others)
        });
        Ok(others.await?)
    }

    async fn ask_one<T: Send>(
        &self,
        server: &str,
        path: &str,
        body: Option<&Value>,
        max_answer: usize,
        time: Duration,
        read: impl Fn(RawObject) -> Option<T> + Send,
    ) -> Fetched<T> {
        let passing = |reason: String| Ok(Err(Unavailable { reason, later: true }));
        if let Some(reason) = self.silent().get(server) {
            return passing(reason.clone());
        }
        let time = time.min(self.budget.time_left());
        if time < Duration::from_millis(1) {
            return passing("there was no time left".to_owned());
        }
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let request = Request { method, destination: server, path, body, max_answer, timeout: time };
        let Some(answer) = self.surroundings.ask(request, read).await else {
            return passing("too many long answers are awaited".to_owned());
        };
        match answer {
            Ok(found) => Ok(found.ok_or_else(|| lost(format!("{server} does not have it")))),
            Err(error) => Ok(Err(self.failed(server, path, error)?)),
        }
    }

    pub(super) fn silent(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.silent.lock()
    }

    /// Turns a server's failure into a reason. A server that is unreachable is not asked again.
    pub(super) fn failed(
        &self,
        server: &str,
        path: &str,
        error: FederationError,
    ) -> Result<Unavailable, ApiError> {
        debug!(server, path, %error, "a request to another server failed");
        let (reason, later) = (error.to_string(), is_passing(&error));
        if later {
            self.has_failed.store(true, Ordering::Relaxed);
        }
        match error {
            FederationError::Internal(error) => return Err(error),
            FederationError::Unreachable { .. } => {
                self.silent().insert(server.to_owned(), reason.clone());
            }
            _ => {}
        }
        Ok(Unavailable { reason, later })
    }
}
