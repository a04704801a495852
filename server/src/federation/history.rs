//! Fills gaps of a room's timeline when a client reads there. Server-Server API, "Backfilling and retrieving
//! missing events".
//!
//! A gap is identified by the event whose previous events are missing. It is filled from its newer end, some
//! events at a time. A node leases the gap, so that one request is made however many clients of all nodes
//! read there. After a failure the gap is retried later, each time after a longer pause; readers skip it
//! meanwhile.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, StatusCode};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use matriarch_rules::json::parse_pdu;
use matriarch_rules::{Event, RoomVersion, room_version};
use matriarch_wire::Verdict;
use parking_lot::Mutex;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::{debug, info};

use super::base::Federation;
use super::http_client::{Answer, FederationError, Request};
use super::intake;
use super::intake::batch::{Batch, Kind, Taken, Unavailable};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::base::raw_object::RawObject;
use crate::database::Db;

/// How long a client's request waits for missing events in all.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// How many events are asked for, and how many of an answer are used at most.
const EVENTS: usize = 100;
/// The longest answer that is read, in mebibytes.
const MAX_ANSWER: u32 = 16;
/// How many servers are asked about a gap or an event.
const MAX_SERVERS: usize = 5;
/// How long one server may take to answer.
const SERVER_TIMEOUT: Duration = Duration::from_secs(15);
/// If a server has not answered after this time, the next server is asked too.
const HEDGE: Duration = Duration::from_secs(2);
/// How often a node checks whether another node has finished with a gap, and how long a lease lasts.
const POLL: Duration = Duration::from_millis(100);
const LEASE: Duration = Duration::from_secs(60);
/// How long a server that answered late, or not at all, is asked last.
const SLOW: Duration = Duration::from_secs(120);

const CLAIM: &str = "select outcome, room_version, missing from matriarch.claim_history_gap($1, $2)";
const FINISH: &str = "select matriarch.finish_history_gap($1, $2, $3)";
const SERVERS: &str = "select server_name from matriarch.history_servers($1, $2) as server_name";
const VERSION: &str = "select room_version from matriarch.rooms where room_id = $1";

/// The ids of a room and of an event in it.
type RoomEvent = (String, String);

/// Fills gaps and fetches events on this node. Cheap to clone.
#[derive(Clone)]
pub struct History {
    federation: Federation,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Running tasks. Who waits for a task holds a receiver; it is closed when the task ends.
    tasks: Mutex<HashMap<RoomEvent, watch::Receiver<()>>>,
    /// Gaps that this node has leased.
    leased: Mutex<BTreeSet<RoomEvent>>,
    /// Servers that answered late or not at all, and until when they are asked last.
    slow: Mutex<HashMap<String, Instant>>,
}

/// A time in a room; the event closest to it may be missing here.
#[derive(Debug)]
pub struct Time<'t> {
    pub room_id: &'t str,
    /// The event that identifies the gap.
    pub gap: &'t str,
    /// Milliseconds since 1970.
    pub ts: i64,
    /// `f` or `b`
    pub dir: &'t str,
    /// The time of the closest stored event, if there is one.
    pub known_ts: Option<i64>,
}

/// A gap that this node has leased.
struct Claimed {
    version: &'static RoomVersion,
    /// The missing previous events.
    missing: Vec<String>,
}

/// What a task does.
#[derive(Clone, Copy)]
enum Task {
    /// Fill the gap before the event.
    Gap,
    /// Fetch the event itself.
    Event,
}

impl History {
    /// Starts without tasks.
    pub fn new(federation: Federation) -> Self {
        Self { federation, shared: Arc::default() }
    }

    /// Fills the gap before an event, at least in part. Returns whether the attempt ended, successful or not,
    /// by `deadline`; it continues after that.
    pub async fn fill(&self, room_id: &str, event_id: &str, deadline: Instant) -> bool {
        self.done((room_id.to_owned(), event_id.to_owned()), Task::Gap, deadline).await
    }

    /// Fetches a missing event. Returns whether the attempt ended by `deadline`.
    pub async fn fetch_event(&self, room_id: &str, event_id: &str, deadline: Instant) -> bool {
        self.done((room_id.to_owned(), event_id.to_owned()), Task::Event, deadline).await
    }

    /// Asks servers for the event closest to a time, and fetches it if it is closer than `known_ts`. Returns
    /// whether the caller should search the timeline again.
    pub async fn fetch_closest(&self, time: &Time<'_>, deadline: Instant) -> bool {
        match timeout_at(deadline, self.closest(time)).await {
            Ok(Some(event_id)) => self.fetch_event(time.room_id, &event_id, deadline).await,
            _ => false,
        }
    }

    /// Ends the remaining leases when the node stops.
    pub async fn release_all(&self) {
        let leased = std::mem::take(&mut *self.shared.leased.lock());
        for (room_id, event_id) in leased {
            let _logged = self.federation.db.query(FINISH, &[&room_id, &event_id, &None::<&str>]).await;
        }
    }

    async fn done(&self, room_event: RoomEvent, task: Task, deadline: Instant) -> bool {
        let mut running = self.running(room_event, task);
        // No value is ever sent: the channel closes when the task ends.
        timeout_at(deadline, running.changed()).await.is_ok()
    }

    /// Starts the task for an event, or finds the running one.
    fn running(&self, room_event: RoomEvent, task: Task) -> watch::Receiver<()> {
        let mut tasks = self.shared.tasks.lock();
        if let Some(running) = tasks.get(&room_event) {
            return running.clone();
        }
        let (ends, running) = watch::channel(());
        tasks.insert(room_event.clone(), running.clone());
        let this = self.clone();
        tokio::spawn(async move {
            // `Db` has logged that the database is not reachable.
            let _logged = match task {
                Task::Gap => this.fill_gap(&room_event).await,
                Task::Event => this.fetch_missing(&room_event).await,
            };
            this.shared.tasks.lock().remove(&room_event);
            drop(ends);
        });
        running
    }

    async fn fill_gap(&self, room_event: &RoomEvent) -> Result<(), ApiError> {
        let Some(claimed) = claim(&self.federation.db, room_event).await? else { return Ok(()) };
        self.shared.leased.lock().insert(room_event.clone());
        let filled = timeout(LEASE, self.ask_for(room_event, &claimed)).await;
        let error = match filled {
            Ok(Ok(())) => None,
            Ok(Err(FederationError::Internal(error))) => Some(error.message.into_owned()),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it took too long".to_owned()),
        };
        crate::base::metrics::backfill(if error.is_none() { "filled" } else { "failed" });
        let (room_id, event_id) = room_event;
        if let Some(error) = &error {
            info!(room_id, event_id, error, "a gap cannot be filled");
        }
        let error = error.map(|error| error.replace('\0', "\u{fffd}"));
        let finished = self.federation.db.query(FINISH, &[room_id, event_id, &error]).await;
        self.shared.leased.lock().remove(room_event);
        finished.map(drop)
    }

    /// The servers to ask, the most promising first.
    async fn servers(&self, room_id: &str, event_id: Option<&str>) -> Result<Vec<String>, ApiError> {
        let rows = self.federation.db.query(SERVERS, &[&room_id, &event_id]).await?;
        let servers = rows.iter().filter_map(|row| row.try_get::<_, String>("server_name").ok());
        let mut servers: Vec<String> = servers.filter(|server| self.federation.http.admits(server)).collect();
        let slow = self.shared.slow.lock();
        let now = Instant::now();
        servers.sort_by_key(|server| slow.get(server).is_some_and(|until| *until > now));
        servers.truncate(MAX_SERVERS);
        Ok(servers)
    }

    /// Notes that a server is slow, so that it is asked last for a while.
    fn note_slow(&self, server: &str) {
        let mut slow = self.shared.slow.lock();
        let now = Instant::now();
        slow.retain(|_, until| *until > now);
        slow.insert(server.to_owned(), now + SLOW);
    }

    /// Asks servers until one returns some of the missing events. If a server is slow, the next is asked
    /// while it works.
    async fn ask_for(
        &self,
        (room_id, event_id): &RoomEvent,
        claimed: &Claimed,
    ) -> Result<(), FederationError> {
        let servers = self.servers(room_id, Some(event_id)).await?;
        let mut path = format!("/_matrix/federation/v1/backfill/{}?limit={EVENTS}", encode(room_id));
        for missing in &claimed.missing {
            path += &format!("&v={}", encode(missing));
        }
        let mut failure = FederationError::unreachable("another server of the room", "there is none to ask");
        let mut next = servers.iter();
        let mut asked = FuturesUnordered::new();
        loop {
            if let Some(server) = next.next() {
                let path = &path;
                asked.push(async move { (server, self.ask(server, path).await) });
            }
            let answered = match next.len() {
                0 => asked.next().await,
                left => match timeout(HEDGE, asked.next()).await {
                    Ok(answered) => answered,
                    Err(_) => {
                        self.note_slow(&servers[servers.len() - left - 1]);
                        continue;
                    }
                },
            };
            let Some((server, answer)) = answered else { return Err(failure) };
            let taken = match answer {
                Ok(answer) => self.take_in(room_id, claimed, server, &servers, &answer).await?,
                Err(error @ FederationError::Internal(_)) => return Err(error),
                Err(error) => {
                    debug!(room_id, server, %error, "a server gave no history");
                    failure = error;
                    continue;
                }
            };
            let is_known = |taken: &Taken| {
                taken.event_id.as_ref().is_some_and(|id| claimed.missing.contains(id))
                    && is_stored(&taken.verdict)
            };
            if taken.iter().any(is_known) {
                return Ok(());
            }
            let reason = match taken.iter().find(|taken| !is_stored(&taken.verdict)) {
                Some(taken) => format!("{:?}", taken.verdict),
                None => "it does not contain the missing events".to_owned(),
            };
            failure = FederationError::bad_answer(server, reason);
        }
    }

    async fn ask(&self, server: &str, path: &str) -> Result<Answer<RawObject>, FederationError> {
        let federation = &self.federation;
        let time = federation.http.timeout().min(SERVER_TIMEOUT);
        let Some(_permits) = federation.await_answer(server, MAX_ANSWER, time).await else {
            return Err(FederationError::unreachable(server, "too many long answers are awaited"));
        };
        let request = Request {
            method: Method::GET,
            destination: server,
            path,
            body: None,
            max_answer: MAX_ANSWER as usize * 1024 * 1024,
            timeout: time,
        };
        let answer = federation.http.send_for_raw(request).await;
        if matches!(answer, Err(FederationError::Unreachable { .. })) {
            self.note_slow(server);
        }
        answer
    }

    /// Puts those events of a server's answer through intake that were asked for, and their ancestors.
    async fn take_in(
        &self,
        room_id: &str,
        claimed: &Claimed,
        server: &str,
        servers: &[String],
        answer: &RawObject,
    ) -> Result<Vec<Taken>, ApiError> {
        let pdus = answer.items("pdus").unwrap_or_default();
        let pdus = &pdus[..pdus.len().min(EVENTS)];
        let others = servers.iter().filter(|other| *other != server).cloned();
        let servers: Vec<String> = std::iter::once(server.to_owned()).chain(others).collect();
        let batch = Batch {
            room_id,
            room_version: claimed.version.id,
            kind: Kind::Backfilled,
            servers: &servers,
            pdus: ancestors(claimed.version, pdus, &claimed.missing),
            states: BTreeMap::new(),
        };
        intake::take_in(&self.federation, batch).await
    }

    /// The event that a server names as the closest to a time, if it is closer than the closest stored one.
    async fn closest(&self, time: &Time<'_>) -> Option<String> {
        let Time { room_id, gap, ts, dir, known_ts } = *time;
        let path = format!("/_matrix/federation/v1/timestamp_to_event/{}?ts={ts}&dir={dir}", encode(room_id));
        for server in self.servers(room_id, Some(gap)).await.ok()? {
            let answer = match self.ask(&server, &path).await {
                Ok(answer) => answer.object(),
                Err(error) => {
                    debug!(room_id, server, %error, "a server named no event closest to a time");
                    continue;
                }
            };
            let event_id = answer.get("event_id").and_then(Value::as_str).filter(|id| !id.contains('\0'));
            let found_ts = answer.get("origin_server_ts").and_then(Value::as_i64);
            let (Some(event_id), Some(found_ts)) = (event_id, found_ts) else { continue };
            let is_closer = match dir {
                "f" => found_ts >= ts && known_ts.is_none_or(|known| found_ts < known),
                _ => found_ts <= ts && known_ts.is_none_or(|known| found_ts > known),
            };
            if is_closer {
                return Some(event_id.to_owned());
            }
        }
        None
    }

    /// Asks servers of the room for an event, and puts it through intake.
    async fn fetch_missing(&self, (room_id, event_id): &RoomEvent) -> Result<(), ApiError> {
        let Some(row) = self.federation.db.query_opt(VERSION, &[room_id]).await? else { return Ok(()) };
        let version = room_version(row.get("room_version")).ok_or_else(ApiError::internal)?;
        let servers = self.servers(room_id, None).await?;
        let path = format!("/_matrix/federation/v1/event/{}", encode(event_id));
        let claimed = Claimed { version, missing: vec![event_id.clone()] };
        for server in &servers {
            match self.ask(server, &path).await {
                Ok(answer) => {
                    let taken = self.take_in(room_id, &claimed, server, &servers, &answer).await?;
                    if taken.iter().any(|taken| is_stored(&taken.verdict)) {
                        return Ok(());
                    }
                }
                Err(FederationError::Internal(error)) => return Err(error),
                Err(FederationError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
                Err(error) => debug!(room_id, event_id, server, %error, "a server did not give an event"),
            }
        }
        Ok(())
    }
}

/// Leases a gap, or waits until the node that leases it has finished. `None` if there is no gap to fill.
async fn claim(db: &Db, (room_id, event_id): &RoomEvent) -> Result<Option<Claimed>, ApiError> {
    let deadline = Instant::now() + LEASE;
    loop {
        let Some(row) = db.query_opt(CLAIM, &[room_id, event_id]).await? else { return Ok(None) };
        match row.get("outcome") {
            "claimed" => {
                let version = room_version(row.get("room_version")).ok_or_else(ApiError::internal)?;
                return Ok(Some(Claimed { version, missing: row.get("missing") }));
            }
            "busy" if Instant::now() < deadline => sleep(POLL).await,
            _ => return Ok(None),
        }
    }
}

fn is_stored(verdict: &Result<Verdict, Unavailable>) -> bool {
    matches!(verdict, Ok(Verdict::Accepted | Verdict::SoftFailed { .. } | Verdict::Rejected { .. }))
}

/// The wanted events among `pdus` and their ancestors, as JSON texts.
fn ancestors(version: &RoomVersion, pdus: &[&RawValue], wanted: &[String]) -> Vec<String> {
    let read = |pdu: &&RawValue| {
        let mut json = parse_pdu(pdu.get()).ok()?;
        json.object.remove("unsigned");
        let event = Event::from_pdu(version, json).ok()?;
        Some((event.event_id().to_owned(), (event, pdu.get().to_owned())))
    };
    let mut events: HashMap<String, (Event, String)> = pdus.iter().filter_map(read).collect();
    let mut open: Vec<String> = wanted.to_vec();
    let mut found = Vec::new();
    while let Some(event_id) = open.pop() {
        if let Some((event, text)) = events.remove(&event_id) {
            open.extend(event.prev_events().map(str::to_owned));
            found.push(text);
        }
    }
    found
}
