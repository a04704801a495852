//! Downloads the state of a room, possibly hundreds of thousands of events, from another server into the
//! database.
//!
//! The answer is parsed while it arrives ([`state_answer`]), and its events are staged in
//! `state_download_events`; memory only contains which event cites which ([`index`]). Then the events go
//! through intake as outliers, cited events first. Several statements run at the same time, since each
//! verifies its events before it waits for the room's lock. The few events that need what the answer lacks
//! are handed to the intake loop in the end, which fetches what they need.

mod index;
mod state_answer;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use matriarch_rules::RoomVersion;
use matriarch_wire::{GivenUp, Verdict};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, timeout};
use tracing::{debug, warn};

use self::index::Index;
use self::state_answer::{Part, Rest};
use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::intake::batch::{CHUNK_BYTES, CHUNK_EVENTS, Taken, given_up_json, read_answer};
use super::intake::pool::Open;
use crate::base::error::ApiError;

/// The longest answer that is read, in bytes: the state of a room with hundreds of thousands of members.
pub const MAX_ANSWER: usize = 512 * 1024 * 1024;
/// Servers need long to write the state of a large room.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// The most events of an answer, including those that they cite, since the index of them is in memory.
const MAX_EVENTS: u32 = 500_000;
/// The most events that need what the answer does not contain.
const MAX_NEEDY: usize = 5_000;
/// For every `PERMIT_EVENTS` events, the download takes permits for `PERMITS` mebibytes: the size of their
/// index.
const PERMIT_EVENTS: u32 = 10_000;
const PERMITS: u32 = 4;
/// How long a download waits for these permits.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How many statements run at the same time. They verify in parallel, and write one after the other.
const PARALLEL: usize = 4;
/// How many passes are made over events that wait for other events or for keys.
const MAX_PASSES: usize = 5;
/// How many servers' keys are fetched at the same time, and how long all of that may take.
const PARALLEL_KEYS: usize = 50;
const KEYS_TIMEOUT: Duration = Duration::from_secs(120);

const BEGIN: &str = "insert into matriarch.state_downloads (room_id) values ($1) returning download_id";
const STAGE: &str = include_str!("state_downloads/stage.sql");
const RECEIVE: &str = include_str!("state_downloads/receive.sql");
const READ: &str = "
select json from matriarch.state_download_events where download_id = $1 and number = any($2)";
const END: &str = include_str!("state_downloads/end.sql");

/// How long a download may take.
#[derive(Clone, Copy)]
pub struct Times {
    /// Until the answer begins.
    pub begin: Duration,
    /// In all.
    pub whole: Duration,
}

/// The result: the ids of the state events that were stored, and the rest of the answer.
pub struct StateDownload {
    pub state: Vec<String>,
    pub rest: Rest,
}

/// An event that was parsed and is not staged yet.
struct Incoming {
    open: Open,
    is_state: bool,
}

/// The result of intake for a part of the events.
#[derive(Default)]
struct Received {
    stored: Vec<u32>,
    /// Events that need something.
    open: Vec<u32>,
    /// Servers whose keys they need.
    servers: BTreeSet<String>,
}

/// A running download.
struct Download<'a> {
    federation: &'a Federation,
    id: i64,
    room_id: &'a str,
    version: &'static RoomVersion,
    server: &'a str,
    index: Index,
    /// Acquired while the index grows, so that an answer that arrives slowly does not block others.
    permits: Vec<OwnedSemaphorePermit>,
    /// Servers whose keys were requested, and those that gave none.
    asked: BTreeSet<String>,
    given_up: GivenUp,
    begin_timeout: Duration,
    deadline: Instant,
}

/// Asks a server for the state of a room by `request` (a `send_join` or `state`), and puts the events through
/// intake, for at most `times`. Events that need what the answer lacks are passed to `take_in_outliers`, as
/// JSON texts.
///
/// # Errors
///
/// Faults of the server, and limits that its answer exceeds.
pub async fn receive<F>(
    federation: &Federation,
    room_id: &str,
    version: &'static RoomVersion,
    request: Request<'_>,
    times: Times,
    take_in_outliers: impl Fn(Vec<String>) -> F,
) -> Result<StateDownload, FederationError>
where
    F: Future<Output = Result<Vec<Taken>, ApiError>>,
{
    let row = federation.db.query_opt(BEGIN, &[&room_id]).await?.ok_or_else(ApiError::internal)?;
    let mut download = Download {
        federation,
        id: row.get("download_id"),
        room_id,
        version,
        server: request.destination,
        index: Index::default(),
        permits: Vec::new(),
        asked: BTreeSet::new(),
        given_up: GivenUp::default(),
        begin_timeout: times.begin,
        deadline: Instant::now() + times.whole,
    };
    let done = download.run(request, take_in_outliers).await;
    federation.db.query(END, &[&download.id]).await?;
    done
}

impl Download<'_> {
    async fn run<F>(
        &mut self,
        request: Request<'_>,
        take_in_outliers: impl Fn(Vec<String>) -> F,
    ) -> Result<StateDownload, FederationError>
    where
        F: Future<Output = Result<Vec<Taken>, ApiError>>,
    {
        let begun = Instant::now();
        let rest = self.stage(request).await?;
        let staged = begun.elapsed();
        let needy = self.take_in().await?;
        self.take_needy(needy, take_in_outliers).await?;
        let state = self.index.stored_state();
        debug!(
            room_id = self.room_id,
            server = self.server,
            events = self.index.count,
            state = state.len(),
            staged_ms = staged.as_millis(),
            taken_ms = (begun.elapsed() - staged).as_millis(),
            "the state of a room arrived"
        );
        Ok(StateDownload { state, rest })
    }

    /// Logs and counts that the answer exceeds a limit.
    fn over(&self, limit: &'static str) -> FederationError {
        warn!(room_id = self.room_id, server = self.server, limit, "the state of a room is too much");
        crate::base::metrics::federation_limit(limit);
        FederationError::bad_answer(self.server, format!("it is over the limit of {limit}"))
    }

    /// Reads the answer into the staging table.
    async fn stage(&mut self, request: Request<'_>) -> Result<Rest, FederationError> {
        let (chunks, chunks_read) = mpsc::channel(16);
        let (batches, mut batches_read) = mpsc::channel::<Vec<Incoming>>(1);
        let (version, room_id) = (self.version, self.room_id.to_owned());
        // Parsing and hashing block, so they run on a thread of their own.
        let reader = tokio::task::spawn_blocking(move || {
            let (mut batch, mut bytes) = (Vec::new(), 0);
            let hand_on =
                |batch| batches.blocking_send(batch).map_err(|_| "its events are not received".to_owned());
            let rest = state_answer::read(chunks_read, |part, text| {
                // Skip values that are no events of the room.
                let Ok(open) = Open::read(version, &room_id, text) else { return Ok(()) };
                bytes += open.weight;
                batch.push(Incoming { open, is_state: part == Part::State });
                if batch.len() < CHUNK_EVENTS && bytes < CHUNK_BYTES {
                    return Ok(());
                }
                bytes = 0;
                hand_on(std::mem::take(&mut batch))
            })?;
            hand_on(batch)?;
            Ok(rest)
        });
        let streamed = self.federation.http.stream(request, self.begin_timeout, chunks);
        let server = self.server;
        let staged = async {
            let mut staged = Ok(());
            while staged.is_ok()
                && let Some(batch) = batches_read.recv().await
            {
                staged = self.stage_batch(batch).await;
            }
            // Tells the reader to stop.
            drop(batches_read);
            staged
        };
        let (streamed, staged) = tokio::join!(streamed, staged);
        let rest = reader.await.map_err(|_| ApiError::internal())?;
        staged?;
        streamed?;
        rest.map_err(|reason: String| FederationError::bad_answer(server, reason))
    }

    async fn stage_batch(&mut self, batch: Vec<Incoming>) -> Result<(), FederationError> {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for Incoming { open, is_state } in batch {
            let added = self.index.add(&open.event_id, &open.auth_events, open.weight, is_state);
            if let Some(number) = added {
                numbers.push(i64::from(number));
                texts.push(open.text);
            }
        }
        self.make_room().await?;
        self.federation.db.query(STAGE, &[&self.id, &numbers, &texts]).await?;
        Ok(())
    }

    /// Acquires permits for the memory of the index.
    async fn make_room(&mut self) -> Result<(), FederationError> {
        if self.index.size() > MAX_EVENTS {
            return Err(self.over("state_events"));
        }
        while self.permits.len() < (self.index.size() / PERMIT_EVENTS) as usize {
            match self.federation.long_answers.take(PERMITS, PERMIT_TIMEOUT).await {
                Some(permit) => self.permits.push(permit),
                None => return Err(self.over("state_memory")),
            }
        }
        Ok(())
    }

    /// Puts the staged events through intake. Returns the events that need what the answer lacks.
    async fn take_in(&mut self) -> Result<Vec<u32>, FederationError> {
        let order = self.index.in_order();
        // The first part is cited by all others. It tells which keys most events need, and these are fetched
        // next.
        let (first, others) = order.split_at(order.len().min(CHUNK_EVENTS));
        let (mut open, servers) = self.pass(first).await?;
        self.fetch_keys(servers).await;
        open.extend(others);
        for _ in 0..MAX_PASSES {
            let before = open.len();
            let (left, servers) = self.pass(&open).await?;
            open = left;
            let has_news = self.fetch_keys(servers).await;
            if open.is_empty() || !(has_news || open.len() < before) {
                break;
            }
        }
        Ok(open)
    }

    /// Passes events to the database in parts. Returns those that need something, and the servers whose keys
    /// are missing.
    async fn pass(&mut self, numbers: &[u32]) -> Result<(Vec<u32>, BTreeSet<String>), FederationError> {
        let parts = self.index.parts(numbers, CHUNK_EVENTS, CHUNK_BYTES);
        let this = &*self;
        let received: Vec<Received> =
            stream::iter(parts).map(|part| this.receive_part(part)).buffered(PARALLEL).try_collect().await?;
        let (mut open, mut servers) = (Vec::new(), BTreeSet::new());
        for part in received {
            part.stored.into_iter().for_each(|number| self.index.note_stored(number));
            open.extend(part.open);
            servers.extend(part.servers);
        }
        Ok((open, servers))
    }

    async fn receive_part(&self, part: Vec<u32>) -> Result<Received, FederationError> {
        if Instant::now() > self.deadline {
            return Err(self.over("state_time"));
        }
        let numbers: Vec<i64> = part.iter().copied().map(i64::from).collect();
        let given_up = given_up_json(&self.given_up)?;
        let version = self.version.id;
        let response =
            self.federation.call(RECEIVE, &[&self.room_id, &version, &self.id, &numbers, &given_up]).await?;
        let answer = read_answer(&response)?;
        if answer.pdus.len() != part.len() {
            // Staged events are missing: a crash of the database empties the unlogged staging table.
            return Err(ApiError::unavailable().into());
        }
        let mut received = Received::default();
        for (number, report) in part.into_iter().zip(answer.pdus) {
            match report.verdict {
                Verdict::Outlier | Verdict::Accepted | Verdict::SoftFailed { .. } => {
                    received.stored.push(number);
                }
                Verdict::Rejected { .. } | Verdict::Refused { .. } => {}
                Verdict::Needs { needs } => {
                    received.open.push(number);
                    received.servers.extend(needs.keys.into_iter().map(|(server, _)| server));
                }
            }
        }
        Ok(received)
    }

    /// Fetches the keys of servers, once for each server. Returns whether another pass may succeed.
    async fn fetch_keys(&mut self, servers: BTreeSet<String>) -> bool {
        let new: Vec<String> = servers.difference(&self.asked).cloned().collect();
        // The fetched keys of these servers did not contain the needed ones.
        self.given_up.keys.extend(servers.intersection(&self.asked).cloned());
        let has_news = !servers.is_empty();
        let federation = self.federation;
        let until = Instant::now() + KEYS_TIMEOUT;
        let fetched: Vec<(String, bool)> = stream::iter(new)
            .map(|server| async move {
                let left = until.saturating_duration_since(Instant::now());
                let fetch = federation.key_ring.fetch(&server);
                let fetched = timeout(left, fetch).await;
                (server, matches!(fetched, Ok(Ok(()))))
            })
            .buffer_unordered(PARALLEL_KEYS)
            .collect()
            .await;
        for (server, has_keys) in fetched {
            if !has_keys {
                self.given_up.keys.insert(server.clone());
            }
            self.asked.insert(server);
        }
        has_news
    }

    /// Puts events through intake that need what the answer lacks.
    async fn take_needy<F>(
        &mut self,
        mut open: Vec<u32>,
        take_in_outliers: impl Fn(Vec<String>) -> F,
    ) -> Result<(), FederationError>
    where
        F: Future<Output = Result<Vec<Taken>, ApiError>>,
    {
        if open.len() > MAX_NEEDY {
            let _logged = self.over("state_gaps");
            open.truncate(MAX_NEEDY);
        }
        for part in self.index.parts(&open, CHUNK_EVENTS, CHUNK_BYTES) {
            if Instant::now() > self.deadline {
                return Err(self.over("state_time"));
            }
            let numbers: Vec<i64> = part.iter().copied().map(i64::from).collect();
            let rows = self.federation.db.query(READ, &[&self.id, &numbers]).await?;
            let pdus = rows.iter().map(|row| row.get("json")).collect();
            for taken in take_in_outliers(pdus).await? {
                if let (Some(id), Ok(Verdict::Outlier | Verdict::Accepted)) = (taken.event_id, taken.verdict)
                {
                    self.index.note_stored_id(&id);
                }
            }
        }
        Ok(())
    }
}
