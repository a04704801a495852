//! Rooms that users of this server are in before all members have come. MSC3706, MSC3902.
//!
//! A join asks the other server to leave the members out, which are most of a big room's state. The room can be used at
//! once; behind that a node, whichever comes first, loads the whole state as it was before the join, from the same server or
//! from others, and has the database make the room whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use matriarch_rules::{RoomVersion, room_version};
use matriarch_wire::{CompletedJoin, States};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::intake;
use super::leased_work::{self, LeasedWork, while_renewed};
use super::state_downloads::{ANSWER_TIMEOUT, MAX_ANSWER};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::database::call;

/// A third of what a lease lasts.
const RENEWAL: Duration = Duration::from_secs(20);
/// How long the state of a room may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often the states of single events are asked for, which may be more each time.
const MAX_ROUNDS: usize = 5;
/// How long a join waits for its room to become whole: small ones do so at once.
const JOIN_TIMEOUT: Duration = Duration::from_secs(2);
const JOIN_PAUSE: Duration = Duration::from_millis(50);

const CLAIM: &str = include_str!("partial_joins/claim.sql");
const FAIL: &str = include_str!("partial_joins/fail.sql");
const RENEW: &str = "
update matriarch.partial_joins set leased_until = now() + interval '1 minute' where join_event_id = $1";
const ANNOUNCE: &str = "
insert into matriarch.partial_joins (join_event_id, room_id, server_name, servers) values ($1, $2, $3, $4)
on conflict (join_event_id) do nothing";
/// What another join was made by, later, is more likely to help.
const RENAME: &str = "
update matriarch.partial_joins
set server_name = $2, attempts = 0, next_try_at = now()
where room_id = $1 and room_nid is not null and join_event_id <> $3";
const WITHDRAW: &str = "
delete from matriarch.partial_joins where join_event_id = $1 and room_nid is null";
const IS_PARTIAL: &str = "select from matriarch.partial_joins where join_event_id = $1";
const COMPLETE: &str = call!("matriarch.complete_partial_join($1, $2, $3, $4)");

/// This node's part in making rooms whole. Cheap to clone.
#[derive(Clone)]
pub struct PartialJoins {
    federation: Federation,
    began: Arc<Notify>,
}

/// A join that is leased by this node.
pub struct PartialJoin {
    join_event_id: String,
    room_id: String,
    room_version: String,
    server_name: String,
    servers: Vec<String>,
    attempts: usize,
}

/// Announces a join whose answer, by `server`, left members out, before it is taken in: the room becomes partial by it.
/// `servers` are those in the room, by that answer.
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

/// Forgets a join by which no room became partial.
pub async fn withdraw(federation: &Federation, join_event_id: &str) -> Result<(), ApiError> {
    federation.db.query(WITHDRAW, &[&join_event_id]).await?;
    Ok(())
}

/// Notes whom another join of a room was made by, which may be partial still.
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
    /// A node that loads no room yet.
    pub fn new(federation: Federation) -> Self {
        Self { federation, began: Arc::default() }
    }

    /// Begins to load the rest of a room, and waits for a moment whether that is done at once.
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
}

impl LeasedWork for PartialJoins {
    type Lease = PartialJoin;

    const WORKERS: usize = 4;
    const POLL: Duration = Duration::from_secs(2);

    fn has_come(&self) -> &Notify {
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
        Ok(join.into_iter().collect())
    }

    async fn work(self, join: PartialJoin) {
        let federation = &self.federation;
        let renew = || async {
            // Should that fail, it was logged, and the work goes on.
            let _logged = federation.db.query(RENEW, &[&join.join_event_id]).await;
            Ok(())
        };
        if let Err(error) = while_renewed(RENEWAL, renew, join.load(federation)).await {
            let (room_id, attempts) = (&join.room_id, join.attempts);
            warn!(room_id, attempts, %error, "a room stays partial");
            let reason = error.to_string().replace('\0', "\u{fffd}");
            let _logged = federation.db.query(FAIL, &[&join.join_event_id, &reason]).await;
        }
    }
}

impl PartialJoin {
    /// The server to ask: the one that the join was made by first, and every other time.
    fn server(&self) -> &str {
        let others = self.servers.iter().filter(|server| **server != self.server_name);
        let count = others.clone().count();
        match self.attempts {
            attempts if attempts % 2 == 1 || count == 0 => &self.server_name,
            attempts => others.into_iter().nth((attempts / 2 - 1) % count).unwrap_or(&self.server_name),
        }
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
        let download =
            intake::download_state(federation, &self.room_id, version, request, LOAD_TIMEOUT).await?;
        self.finish(federation, server, version, download.state).await?;
        let seconds = begun.elapsed().as_secs_f64();
        info!(room_id = self.room_id, server, seconds, "a room that was partial is whole");
        Ok(())
    }

    /// Has the room made whole, with the states of events that cannot be told from the graph.
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
        // There are ever more.
        self.complete(federation, &state, &states, None).await?;
        Ok(())
    }

    /// The events whose states are needed first.
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
