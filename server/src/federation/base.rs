//! What every federation service uses: the database, the configuration, and the client for other servers.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{StreamExt, stream};
use matriarch_rules::canonical_json::object_to_canonical_lenient;
use matriarch_rules::identifiers::server_name;
use matriarch_wire::{Afterwards, Unsigned};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::ToSql;
use tracing::{Instrument, info};

use super::http_client::HttpClient;

use super::policy_servers::{self, PolicyServers};
use super::server_keys::KeyRing;
use super::turns::Turns;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::base::memory::Memory;
use crate::base::metrics::federation_limit;
use crate::base::permits::Permits;
use crate::config::Config;
use crate::database::{Db, MatrixResponse, Outcome, call};
use crate::hub::Hub;

/// The most mebibytes of long answers (whole states, auth chains) that a node awaits at the same time.
const LONG_ANSWERS: usize = 256;
/// How long a request waits until all members of a room are loaded, and the pause between attempts.
const PARTIAL_TIMEOUT: Duration = Duration::from_secs(60);
const PARTIAL_PAUSE: Duration = Duration::from_millis(500);
/// How long an answer waits for the signatures of events that follow from the request, and how many such
/// events are signed at a time.
const AFTERWARDS_TIMEOUT: Duration = Duration::from_secs(3);
const AFTERWARDS_CONCURRENCY: usize = 8;

const APPEND_SIGNED: &str = call!("matriarch.append_signed($1, $2, $3, $4)");

/// What federation services use. A clone is one more reference.
#[derive(Clone)]
pub struct Federation(Arc<Shared>);

/// The parts of [`Federation`].
pub struct Shared {
    pub config: Arc<Config>,
    pub db: Db,
    pub hub: Hub,
    /// Requests to other servers.
    pub http: HttpClient,
    /// Other servers' signing keys.
    pub key_ring: KeyRing,
    pub policy_servers: PolicyServers,
    /// Permits to await long answers of other servers; one permit is one mebibyte.
    pub long_answers: Permits,
    /// Turns of intake in rooms.
    pub turns: Turns,
}

impl Deref for Federation {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Federation {
    /// Reads certificates and the system's DNS configuration.
    pub fn new(config: Arc<Config>, db: Db, hub: Hub, memory: Memory) -> Result<Self, Failure> {
        let http = HttpClient::new(&config, db.clone(), memory)?;
        Ok(Self(Arc::new(Shared {
            key_ring: KeyRing::new(http.clone(), db.clone()),
            policy_servers: PolicyServers::new(http.clone()),
            http,
            config,
            db,
            hub,
            long_answers: Permits::new(LONG_ANSWERS),
            turns: Turns::new(),
        })))
    }

    /// Whether federation is enabled in the configuration.
    pub fn is_enabled(&self) -> bool {
        self.config.federation.enabled
    }

    /// Whether a user id or alias belongs to another server, and federation is enabled.
    pub fn is_elsewhere(&self, id: &str) -> bool {
        server_name(id).is_some_and(|server| self.is_other_server(server))
    }

    /// Whether this names another server, and federation is enabled.
    pub fn is_other_server(&self, server: &str) -> bool {
        self.is_enabled() && server != self.config.server_name
    }

    /// Waits until memory is free for an answer of at most `mebibytes`. Returns `None` if `time` passes
    /// first.
    pub async fn await_answer(
        &self,
        server: &str,
        mebibytes: u32,
        time: Duration,
    ) -> Option<OwnedSemaphorePermit> {
        let permit = self.long_answers.take(mebibytes, time).await;
        if permit.is_none() {
            info!(server, limit = "long_answers", "too many long answers are awaited");
            federation_limit("long_answers");
        }
        permit
    }

    /// Serves a request with one statement made by [`call!`], and wakes the syncs that it names.
    ///
    /// A request that needs all members of a partial room waits until the room is whole. If the room's policy
    /// server must sign an event first, this asks it and appends the event with a second statement.
    ///
    /// The statement may run again after a serialization failure, so it must be complete in itself.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let answer = self.call_when_whole(sql, params).await?;
        self.sign(answer).await
    }

    /// As [`Self::call`], but leaves it to the caller to have events signed.
    pub async fn call_when_whole(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let response = when_whole(|| self.db.call(sql, params)).await?;
        self.hub.wake(&response.wake_rooms, &response.wake_users);
        Ok(response)
    }

    /// Has the event of an answer signed and appended if the outcome demands it, and returns the answer to
    /// the client. Starts to sign events that follow from the request. Returns other answers unchanged.
    pub async fn sign(&self, answer: MatrixResponse) -> Result<MatrixResponse, ApiError> {
        match answer.outcome {
            Some(Outcome::SignFirst) => {
                let unsigned: Unsigned = answer.read()?;
                let appended = self.append_signed(&unsigned).await?;
                let is_appended = appended.status == StatusCode::OK;
                Ok(if is_appended { MatrixResponse::of(unsigned.answer) } else { appended })
            }
            Some(Outcome::SignAfterwards) => {
                let Afterwards { answer: body, unsigned } = answer.read()?;
                let federation = self.clone();
                let appended = async move { federation.append_all(unsigned).await };
                let appended = tokio::spawn(appended.in_current_span());
                // Usually the client sees the events at once, but it does not wait for slow policy servers.
                drop(timeout(AFTERWARDS_TIMEOUT, appended).await);
                Ok(MatrixResponse { outcome: None, body: Box::<str>::from(body).into(), ..answer })
            }
            _ => Ok(answer),
        }
    }

    /// Has the policy server of the room sign an event, and returns the signed event as JSON text.
    ///
    /// # Errors
    ///
    /// As [`policy_servers::for_client`].
    pub async fn signed_event(&self, unsigned: &Unsigned) -> Result<String, ApiError> {
        let mut event = unsigned.event.clone();
        let signed = self.policy_servers.sign(&unsigned.policy_server, &mut event).await;
        signed.map_err(policy_servers::for_client)?;
        Ok(object_to_canonical_lenient(&event))
    }

    async fn append_signed(&self, unsigned: &Unsigned) -> Result<MatrixResponse, ApiError> {
        let event = self.signed_event(unsigned).await?;
        let Unsigned { room_id, device_nid, txn_id, .. } = unsigned;
        let appended = self.db.call(APPEND_SIGNED, &[room_id, &event, device_nid, txn_id]).await?;
        self.hub.wake(&appended.wake_rooms, &appended.wake_users);
        Ok(appended)
    }

    /// Signs and appends events that follow from an answered request. A refused event is logged and left out.
    async fn append_all(&self, all: Vec<Unsigned>) {
        let append = |unsigned: Unsigned| async move {
            let error = match self.append_signed(&unsigned).await {
                Ok(appended) if appended.status.is_success() => return,
                Ok(appended) => appended.body,
                Err(error) => error.message.into_owned(),
            };
            info!(room_id = unsigned.room_id, error, "an event that was to follow a request was not sent");
        };
        stream::iter(all).map(append).buffer_unordered(AFTERWARDS_CONCURRENCY).collect::<()>().await;
    }
}

/// Calls `ask` until its outcome is not that the room is partial.
///
/// # Errors
///
/// 503 `M_UNKNOWN` with `Retry-After` after a minute, and those of `ask`.
pub async fn when_whole<F>(ask: impl Fn() -> F) -> Result<MatrixResponse, ApiError>
where
    F: Future<Output = Result<MatrixResponse, ApiError>>,
{
    let deadline = Instant::now() + PARTIAL_TIMEOUT;
    loop {
        let answer = ask().await?;
        if answer.outcome != Some(Outcome::Partial) {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            let message = "The members of the room are still being loaded; try again";
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message);
            return Err(ApiError { retry_after: Some(10), ..error });
        }
        sleep(PARTIAL_PAUSE).await;
    }
}
