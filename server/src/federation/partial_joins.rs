//! Rooms that users of this server are in before all members have come. MSC3706, MSC3902.
//!
//! A join asks the other server to leave the members out, which are most of a big room's state. The room can be used at
//! once; behind that a node, whichever comes first, loads the whole state as it was before the join, from the same server or
//! from others, and has the database make the room whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use matriarch_rules::{RoomVersion, room_version};
use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};
use tracing::{info, warn};

use super::arrival;
use super::client::{FederationError, Request};
use super::intake;
use super::membership::encode;
use crate::error::ApiError;
use crate::state::AppState;

/// Rooms that a node loads at the same time.
const WORKERS: usize = 4;
/// How often a node looks for what others left.
const POLL: Duration = Duration::from_secs(2);
/// A third of what a lease lasts.
const RENEWAL: Duration = Duration::from_secs(20);
/// How long the state of a room may take.
const LOAD_TIMEOUT: Duration = Duration::from_secs(1800);
/// How often the states of single events are asked for, which may be more each time.
const MAX_ROUNDS: usize = 5;
/// How long a join waits for its room to become whole: small ones do so at once.
const JOIN_PATIENCE: Duration = Duration::from_secs(2);
const JOIN_PAUSE: Duration = Duration::from_millis(50);
/// How long requests wait that need all members, and between attempts.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

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
const COMPLETE: &str = "
select status, body, wake_rooms, wake_users from matriarch.complete_partial_join($1, $2, $3, $4)";

/// This node's part in making rooms whole. Cheap to clone.
#[derive(Clone, Default)]
pub struct PartialJoins {
    began: Arc<Notify>,
}

/// A join that is leased by this node.
struct PartialJoin {
    join_event_id: String,
    room_id: String,
    room_version: String,
    server_name: String,
    servers: Vec<String>,
    attempts: usize,
}

/// The answer of `complete_partial_join`.
#[derive(Default, Deserialize)]
struct Completed {
    /// Events the state before which has to be asked for.
    #[serde(default)]
    needs: BTreeSet<String>,
}

/// The patience of a request that is answered by status 423: the room is partial.
pub struct Patience(Instant);

impl Default for Patience {
    fn default() -> Self {
        Self(Instant::now() + PATIENCE)
    }
}

impl Patience {
    /// Waits until the request may be tried again.
    ///
    /// # Errors
    ///
    /// 503 `M_UNKNOWN` with `Retry-After` after a minute.
    pub async fn pause(&self) -> Result<(), ApiError> {
        if Instant::now() > self.0 {
            let message = "The members of the room are still being loaded; try again";
            let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "M_UNKNOWN", message);
            return Err(ApiError { retry_after: Some(10), ..error });
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// Announces a join whose answer, by `server`, left members out, before it is taken in: the room becomes partial by it.
/// `servers` are those in the room, by that answer.
pub async fn announce(
    app: &AppState,
    join_event_id: &str,
    room_id: &str,
    server: &str,
    servers: &[String],
) -> Result<(), ApiError> {
    app.db.query(ANNOUNCE, &[&join_event_id, &room_id, &server, &servers]).await?;
    Ok(())
}

/// Forgets a join by which no room became partial.
pub async fn withdraw(app: &AppState, join_event_id: &str) -> Result<(), ApiError> {
    app.db.query(WITHDRAW, &[&join_event_id]).await?;
    Ok(())
}

/// Notes whom another join of a room was made by, which may be partial still.
pub async fn note_server(
    app: &AppState,
    room_id: &str,
    server: &str,
    join_event_id: &str,
) -> Result<(), ApiError> {
    app.db.query(RENAME, &[&room_id, &server, &join_event_id]).await?;
    Ok(())
}

impl PartialJoins {
    /// Begins to load the rest of a room, and waits for a moment whether that is done at once.
    pub async fn begin(&self, app: &AppState, join_event_id: &str) -> Result<(), ApiError> {
        self.began.notify_one();
        let deadline = Instant::now() + JOIN_PATIENCE;
        while Instant::now() < deadline && app.db.query_opt(IS_PARTIAL, &[&join_event_id]).await?.is_some() {
            sleep(JOIN_PAUSE).await;
        }
        Ok(())
    }

    /// Makes rooms whole for as long as the node runs.
    pub async fn run(self, app: AppState) {
        let mut workers = JoinSet::new();
        loop {
            while workers.len() < WORKERS {
                // A database that is away was logged by `Db`.
                let Ok(Some(row)) = app.db.query_opt(CLAIM, &[]).await else { break };
                let join = PartialJoin {
                    join_event_id: row.get("join_event_id"),
                    room_id: row.get("room_id"),
                    room_version: row.get("room_version"),
                    server_name: row.get("server_name"),
                    servers: row.get("servers"),
                    attempts: usize::try_from(row.get::<_, i32>("attempts")).unwrap_or_default(),
                };
                workers.spawn(join.work(app.clone()));
            }
            tokio::select! {
                Some(_) = workers.join_next() => {}
                () = self.began.notified(), if workers.len() < WORKERS => {}
                () = sleep(POLL) => {}
            }
        }
    }
}

impl PartialJoin {
    async fn work(self, app: AppState) {
        let worked = async {
            let mut renewal = interval(RENEWAL);
            renewal.reset();
            let load = self.load(&app);
            tokio::pin!(load);
            loop {
                tokio::select! {
                    loaded = &mut load => return loaded,
                    // Should that fail, it was logged, and the work goes on.
                    _ = renewal.tick() => { let _logged = app.db.query(RENEW, &[&self.join_event_id]).await; }
                }
            }
        };
        let worked: Result<(), FederationError> = worked.await;
        if let Err(error) = worked {
            let (room_id, attempts) = (&self.room_id, self.attempts);
            warn!(room_id, attempts, %error, "a room stays partial");
            let reason = error.to_string().replace('\0', "\u{fffd}");
            let _logged = app.db.query(FAIL, &[&self.join_event_id, &reason]).await;
        }
    }

    /// The server to ask: the one that the join was made by first, and every other time.
    fn server(&self) -> &str {
        let others = self.servers.iter().filter(|server| **server != self.server_name);
        let count = others.clone().count();
        match self.attempts {
            attempts if attempts % 2 == 1 || count == 0 => &self.server_name,
            attempts => others.into_iter().nth((attempts / 2 - 1) % count).unwrap_or(&self.server_name),
        }
    }

    async fn load(&self, app: &AppState) -> Result<(), FederationError> {
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
            max_answer: arrival::MAX_ANSWER,
            timeout: arrival::ANSWER_TIMEOUT,
        };
        let arrived = arrival::receive(app, &self.room_id, version, request, LOAD_TIMEOUT).await?;
        self.finish(app, server, version, arrived.state).await?;
        let seconds = begun.elapsed().as_secs_f64();
        info!(room_id = self.room_id, server, seconds, "a room that was partial is whole");
        Ok(())
    }

    /// Has the room made whole, with the states of events that cannot be told from the graph.
    async fn finish(
        &self,
        app: &AppState,
        server: &str,
        version: &'static RoomVersion,
        state: Vec<String>,
    ) -> Result<(), FederationError> {
        let (mut states, mut given_up) = (BTreeMap::new(), BTreeSet::new());
        for _ in 0..MAX_ROUNDS {
            let needs = self.complete(app, &state, &states, Some(&given_up)).await?;
            if needs.is_empty() {
                return Ok(());
            }
            let servers = [server.to_owned()];
            states.extend(intake::states_before(app, &self.room_id, version, &servers, &needs).await?);
            given_up.extend(needs.into_iter().filter(|id| !states.contains_key(id)));
        }
        // There are ever more.
        self.complete(app, &state, &states, None).await?;
        Ok(())
    }

    /// The events whose states are needed first.
    async fn complete(
        &self,
        app: &AppState,
        state: &[String],
        states: &BTreeMap<String, Vec<String>>,
        given_up: Option<&BTreeSet<String>>,
    ) -> Result<BTreeSet<String>, FederationError> {
        let states = serde_json::to_string(states).map_err(|_| ApiError::internal())?;
        let given_up: Option<Vec<&str>> =
            given_up.map(|given_up| given_up.iter().map(String::as_str).collect());
        let response = app.call(COMPLETE, &[&self.join_event_id, &state, &states, &given_up]).await?;
        if response.status != StatusCode::OK {
            let reason = response.body;
            return Err(FederationError::BadAnswer { server: self.server().to_owned(), reason });
        }
        let completed: Completed = serde_json::from_str(&response.body).unwrap_or_default();
        Ok(completed.needs)
    }
}
