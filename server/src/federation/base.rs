//! What all of federation stands on: the database, the configuration, and this server as a client of others.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::server_name;
use matriarch_wire::{Afterwards, Unsigned};
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::types::ToSql;
use tracing::{Instrument, info};

use super::http_client::HttpClient;
use super::policy_servers::{self, PolicyServers};
use super::server_keys::KeyRing;
use crate::base::error::ApiError;
use crate::base::failure::Failure;
use crate::base::metrics::federation_limit;
use crate::base::permits::Permits;
use crate::config::Config;
use crate::database::{Db, MatrixResponse, Outcome, call};
use crate::hub::Hub;

/// Mebibytes of long answers that a node awaits at the same time: whole states, auth chains.
const LONG_ANSWERS: usize = 256;
/// Long requests of other servers that a node works on at the same time.
const LONG_BODIES: usize = 3;
/// How long a request waits for the members of a room, and how long between attempts.
const PARTIAL_TIMEOUT: Duration = Duration::from_secs(60);
const PARTIAL_PAUSE: Duration = Duration::from_millis(500);
/// How long an answer waits for events that merely follow from the request to be signed, and how many of those are
/// signed at a time.
const AFTERWARDS_TIMEOUT: Duration = Duration::from_secs(3);
const AFTERWARDS_CONCURRENCY: usize = 8;

const APPEND_SIGNED: &str = call!("matriarch.append_signed($1, $2, $3, $4)");

/// What is needed to deal with other servers. Cheap to clone.
#[derive(Clone)]
pub struct Federation {
    pub config: Arc<Config>,
    pub db: Db,
    pub hub: Hub,
    /// Requests to other servers.
    pub http: HttpClient,
    /// Other servers' signing keys.
    pub key_ring: KeyRing,
    pub policy_servers: PolicyServers,
    /// Permits to await long answers of other servers, one for each mebibyte.
    pub long_answers: Permits,
    /// Permits to work on long requests.
    pub long_bodies: Permits,
}

impl Federation {
    /// Reads certificates and the system's DNS configuration.
    pub fn new(config: Arc<Config>, db: Db, hub: Hub) -> Result<Self, Failure> {
        let http = HttpClient::new(&config, db.clone())?;
        Ok(Self {
            key_ring: KeyRing::new(http.clone(), db.clone()),
            policy_servers: PolicyServers::new(http.clone()),
            http,
            config,
            db,
            hub,
            long_answers: Permits::new(LONG_ANSWERS),
            long_bodies: Permits::new(LONG_BODIES),
        })
    }

    /// Whether this server deals with others at all.
    pub fn is_enabled(&self) -> bool {
        self.config.federation.enabled
    }

    /// Whether a user, or an alias, is of a server that is to be asked about it.
    pub fn is_elsewhere(&self, id: &str) -> bool {
        server_name(id).is_some_and(|server| self.is_other_server(server))
    }

    /// Whether this is another server, and there are any.
    pub fn is_other_server(&self, server: &str) -> bool {
        self.is_enabled() && server != self.config.server_name
    }

    /// Waits until a long answer of a server, of so many mebibytes at most, may be kept in memory; `None` if it may not
    /// be in time.
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

    /// Serves a request by one statement of [`call!`], and wakes the syncs that it names.
    ///
    /// A request that needs all members of a room waits while some are being loaded.
    /// Where the room's policy server is to sign an event first, it is asked, and another statement follows.
    ///
    /// The statement may run more than once after a serialization failure, so it must not be one of several that
    /// belong together.
    pub async fn call(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let answer = self.call_when_whole(sql, params).await?;
        self.sign(answer).await
    }

    /// Calls, and calls again while members of the room are being loaded. The answer may ask for a signature.
    pub async fn call_when_whole(
        &self,
        sql: &'static str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<MatrixResponse, ApiError> {
        let response = when_whole(|| self.db.call(sql, params)).await?;
        self.hub.wake(&response.wake_rooms, &response.wake_users);
        Ok(response)
    }

    /// Has the event in an answer signed and appended, if it is to be signed first, and gives the answer to the request. What is to be
    /// signed afterwards is begun. Other answers stay as they are.
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
                // Who asked sees what they did, as a rule; but nobody waits for policy servers that are slow.
                drop(timeout(AFTERWARDS_TIMEOUT, appended).await);
                Ok(MatrixResponse { outcome: None, body: Box::<str>::from(body).into(), ..answer })
            }
            _ => Ok(answer),
        }
    }

    /// Has an event signed by the policy server of its room; the event as it is then.
    ///
    /// # Errors
    ///
    /// As [`policy_servers::for_client`].
    pub async fn signed_event(&self, unsigned: &Unsigned) -> Result<String, ApiError> {
        let mut event = unsigned.event.clone();
        let signed = self.policy_servers.sign(&unsigned.policy_server, &mut event).await;
        signed.map_err(policy_servers::for_client)?;
        Ok(Value::Object(event).to_string())
    }

    async fn append_signed(&self, unsigned: &Unsigned) -> Result<MatrixResponse, ApiError> {
        let event = self.signed_event(unsigned).await?;
        let Unsigned { room_id, device_nid, txn_id, .. } = unsigned;
        let appended = self.db.call(APPEND_SIGNED, &[room_id, &event, device_nid, txn_id]).await?;
        self.hub.wake(&appended.wake_rooms, &appended.wake_users);
        Ok(appended)
    }

    /// Appends what follows from a request that was answered. Who is refused here keeps what the room has.
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

/// Asks until the answer is not that members of the room are still being loaded.
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
