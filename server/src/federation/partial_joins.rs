//! Makes partial rooms whole. MSC3706, MSC3902.
//!
//! A join asks the resident server to omit the members, which are most of a large room's state. The room can
//! be used at once. In the background a node downloads the whole state before the join, from the same server
//! or from others, and has the database make the room whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use matriarch_rules::{RoomVersion, room_version};
use matriarch_wire::{CompletedJoin, States};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::intake;
use super::leased_work::{self, LeasedWork, while_renewed};
use super::state_downloads::{ANSWER_TIMEOUT, MAX_ANSWER, Times};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::call;

/// A third of the time that a lease lasts.
const RENEWAL: Duration = Duration::from_secs(20);
/// How long a server may take to begin to answer at first.
const BEGIN_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the download of a room's state may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1800);
/// How many times the states of single events are fetched: each time more may be needed.
const MAX_ROUNDS: usize = 5;
/// How long a join waits for its room to become whole, and how often it checks. Small rooms become whole at
/// once.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);
const JOIN_PAUSE: Duration = Duration::from_millis(50);

const CLAIM: &str = include_str!("partial_joins/claim.sql");
const FAIL: &str = include_str!("partial_joins/fail.sql");
const RENEW: &str = "
update matriarch.partial_joins set leased_until = now() + interval '1 minute' where join_event_id = $1";
/// The attempt that is broken off does not count.
const RELEASE: &str = "
update matriarch.partial_joins
set leased_until = null, attempts = greatest(attempts - 1, 0)
where join_event_id = any($1)";
const ANNOUNCE: &str = "
insert into matriarch.partial_joins (join_event_id, room_id, server_name, servers) values ($1, $2, $3, $4)
on conflict (join_event_id) do nothing";
/// The resident server of a later join is more likely to answer.
const RENAME: &str = "
update matriarch.partial_joins
set server_name = $2, attempts = 0, next_try_at = now()
where room_id = $1 and room_nid is not null and join_event_id <> $3";
const WITHDRAW: &str = "
delete from matriarch.partial_joins where join_event_id = $1 and room_nid is null";
const IS_PARTIAL: &str = "select from matriarch.partial_joins where join_event_id = $1";
const COMPLETE: &str = call!("matriarch.complete_partial_join($1, $2, $3, $4)");

/// Makes partial rooms whole on this node. Cheap to clone.
#[derive(Clone)]
pub struct PartialJoins {
    federation: Federation,
    began: Arc<Notify>,
    /// The join events of the rooms that this node has leased.
    leased: Arc<Mutex<BTreeSet<String>>>,
}

/// A partial join that this node has leased.
pub struct PartialJoin {
    join_event_id: String,
    room_id: String,
    room_version: String,
    server_name: String,
    servers: Vec<String>,
    attempts: usize,
}

/// Records a join before its intake whose answer, from `server`, omits members: the room will become partial.
/// `servers` are the servers in the room according to the answer.
pub async fn announce(
    federation: &Federation,
    join_event_id: &str,
    room_id: &str,
    server: &str,
    servers: &[String],
) -> Result<(), ApiError> {
    federation.db.query(ANNOUNCE, &[&join_event_id, &room_id, &server, &servers]).await?;
    Ok(())
}

/// Deletes the record of a join that made no room partial.
pub async fn withdraw(federation: &Federation, join_event_id: &str) -> Result<(), ApiError> {
    federation.db.query(WITHDRAW, &[&join_event_id]).await?;
    Ok(())
}

/// Notes the resident server of another join of a room, in case the room is still partial.
pub async fn note_server(
    federation: &Federation,
    room_id: &str,
    server: &str,
    join_event_id: &str,
) -> Result<(), ApiError> {
    federation.db.query(RENAME, &[&room_id, &server, &join_event_id]).await?;
    Ok(())
}

impl PartialJoins {
    /// Loads nothing until [`Self::run`].
    pub fn new(federation: Federation) -> Self {
        Self { federation, began: Arc::default(), leased: Arc::default() }
    }

    /// Starts to load the members of a room, and waits up to two seconds for the room to become whole.
    pub async fn begin(&self, join_event_id: &str) -> Result<(), ApiError> {
        self.began.notify_one();
        let deadline = Instant::now() + JOIN_TIMEOUT;
        let db = &self.federation.db;
        while Instant::now() < deadline && db.query_opt(IS_PARTIAL, &[&join_event_id]).await?.is_some() {
            sleep(JOIN_PAUSE).await;
        }
        Ok(())
    }

    /// Makes rooms whole for as long as the node runs.
    pub async fn run(self) {
        leased_work::run(self).await;
    }

    /// Ends the remaining leases when the node stops.
    pub async fn release_all(&self) {
        let leased: Vec<String> = std::mem::take(&mut *self.leased.lock()).into_iter().collect();
        if !leased.is_empty() {
            let _logged = self.federation.db.query(RELEASE, &[&leased]).await;
        }
    }
}

impl LeasedWork for PartialJoins {
    type Lease = PartialJoin;

    const WORKERS: usize = 4;
    const POLL: Duration = Duration::from_secs(2);

    fn wake_up(&self) -> &Notify {
        &self.began
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<PartialJoin>, ApiError> {
        let row = self.federation.db.query_opt(CLAIM, &[]).await?;
        let join = row.map(|row| PartialJoin {
            join_event_id: row.get("join_event_id"),
            room_id: row.get("room_id"),
            room_version: row.get("room_version"),
            server_name: row.get("server_name"),
            servers: row.get("servers"),
            attempts: usize::try_from(row.get::<_, i32>("attempts")).unwrap_or_default(),
        });
        if let Some(join) = &join {
            self.leased.lock().insert(join.join_event_id.clone());
        }
        Ok(join.into_iter().collect())
    }

    async fn work(self, join: PartialJoin) {
        let federation = &self.federation;
        let renew = || async {
            // A failure was logged, and the work continues.
            let _logged = federation.db.query(RENEW, &[&join.join_event_id]).await;
            Ok(())
        };
        if let Err(error) = while_renewed(RENEWAL, renew, join.load(federation)).await {
            let (room_id, attempts) = (&join.room_id, join.attempts);
            warn!(room_id, attempts, %error, "a room stays partial");
            let reason = error.to_string().replace('\0', "\u{fffd}");
            let _logged = federation.db.query(FAIL, &[&join.join_event_id, &reason]).await;
        }
        self.leased.lock().remove(&join.join_event_id);
    }
}

impl PartialJoin {
    /// The server to ask: every other time the resident server of the join, beginning with it; otherwise the
    /// next of the others.
    fn server(&self) -> &str {
        let others = self.servers.iter().filter(|server| **server != self.server_name);
        let count = others.clone().count();
        match self.attempts {
            attempts if attempts % 2 == 1 || count == 0 => &self.server_name,
            attempts => others.into_iter().nth((attempts / 2 - 1) % count).unwrap_or(&self.server_name),
        }
    }

    /// How long the server may take to begin to answer, before another one is asked: longer each time, in
    /// case all servers need long to read the state.
    fn begin_timeout(&self) -> Duration {
        let doublings = u32::try_from(self.attempts.saturating_sub(1) / 2).unwrap_or(u32::MAX);
        BEGIN_TIMEOUT.saturating_mul(2_u32.saturating_pow(doublings)).min(ANSWER_TIMEOUT)
    }

    async fn load(&self, federation: &Federation) -> Result<(), FederationError> {
        let version = room_version(&self.room_version).ok_or_else(ApiError::internal)?;
        let server = self.server();
        let begun = Instant::now();
        let path = format!(
            "/_matrix/federation/v1/state/{}?event_id={}",
            encode(&self.room_id),
            encode(&self.join_event_id)
        );
        let request = Request {
            method: Method::GET,
            destination: server,
            path: &path,
            body: None,
            max_answer: MAX_ANSWER,
            timeout: ANSWER_TIMEOUT,
        };
        let times = Times { begin: self.begin_timeout(), whole: LOAD_TIMEOUT };
        let download = intake::download_state(federation, &self.room_id, version, request, times).await?;
        self.finish(federation, server, version, download.state).await?;
        let seconds = begun.elapsed().as_secs_f64();
        info!(room_id = self.room_id, server, seconds, "a room that was partial is whole");
        Ok(())
    }

    /// Has the database make the room whole. Fetches the states before events that do not follow from the
    /// graph.
    async fn finish(
        &self,
        federation: &Federation,
        server: &str,
        version: &'static RoomVersion,
        state: Vec<String>,
    ) -> Result<(), FederationError> {
        let (mut states, mut given_up) = (States::new(), BTreeSet::new());
        for _ in 0..MAX_ROUNDS {
            let needs = self.complete(federation, &state, &states, Some(&given_up)).await?;
            if needs.is_empty() {
                return Ok(());
            }
            let servers = [server.to_owned()];
            states.extend(intake::states_before(federation, &self.room_id, version, &servers, &needs).await?);
            given_up.extend(needs.into_iter().filter(|id| !states.contains_key(id)));
        }
        // Every round needed more states: do without the remaining ones.
        self.complete(federation, &state, &states, None).await?;
        Ok(())
    }

    /// Tries to make the room whole. Returns the events whose states are needed for that.
    async fn complete(
        &self,
        federation: &Federation,
        state: &[String],
        states: &States,
        given_up: Option<&BTreeSet<String>>,
    ) -> Result<BTreeSet<String>, FederationError> {
        let states = serde_json::to_string(states).map_err(|_| ApiError::internal())?;
        let given_up: Option<Vec<&str>> =
            given_up.map(|given_up| given_up.iter().map(String::as_str).collect());
        let response = federation.call(COMPLETE, &[&self.join_event_id, &state, &states, &given_up]).await?;
        if response.status != StatusCode::OK {
            return Err(FederationError::bad_answer(self.server(), response.body));
        }
        let CompletedJoin { needs } = response.read()?;
        Ok(needs)
    }
}
