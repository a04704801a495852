//! Intake of remote events: calls `matriarch.receive_pdus` in a loop, and fetches what it needs from other
//! servers.
//!
//! Server-Server API, "Receiving PDUs" and "Backfilling and retrieving missing events". The servers that are
//! asked may be hostile, so everything is bounded ([`budget`]): time, rounds, events, bytes, and requests of
//! each kind. A server that withholds events must not cause lasting harm: an event whose auth events cannot
//! be fetched is not stored at all, because it would stay rejected for ever.

mod ask;
pub mod batch;
mod budget;
mod fetch;
pub mod pool;
mod real_surroundings;
mod surroundings;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use matriarch_rules::{RoomVersion, room_version};
use matriarch_wire::{GivenUp, States, Verdict};
use parking_lot::Mutex;
use tokio::sync::OnceCell;
use tracing::{debug, warn};

use self::batch::{AllUnavailable, Batch, CHUNK_BYTES, CHUNK_EVENTS, Kind, Taken, Unavailable};
use self::budget::Budget;
use self::pool::{Open, Pool};
use self::surroundings::{Part, Surroundings};
use super::base::Federation;
use super::http_client::{FederationError, Request};
use super::state_downloads::{self, StateDownload, Times};
use crate::base::error::ApiError;

/// Puts PDUs through intake, fetches what they need, and wakes the syncs that they concern. Returns the
/// verdict of each PDU, in their order.
///
/// # Errors
///
/// 400 `M_UNSUPPORTED_ROOM_VERSION`; 503 if the database is not reachable. Faults of other servers are no
/// errors, but part of the verdicts.
pub async fn take_in(federation: &Federation, batch: Batch<'_>) -> Result<Vec<Taken>, ApiError> {
    take_in_from(federation, batch).await
}

async fn take_in_from<S: Surroundings>(surroundings: &S, batch: Batch<'_>) -> Result<Vec<Taken>, ApiError> {
    let version = room_version(batch.room_version).ok_or_else(|| {
        let message = "The room version is not supported";
        ApiError::new(StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION", message)
    })?;
    let mut intake = Intake::new(surroundings, version, batch);
    while intake.round().await? {}
    Ok(intake.finish())
}

/// Asks a server for the state of a room by `request` (a `send_join` or `state`), and puts the events through
/// intake, for at most `time`.
///
/// # Errors
///
/// Faults of the server, and limits that its answer exceeds.
pub async fn download_state(
    federation: &Federation,
    room_id: &str,
    version: &'static RoomVersion,
    request: Request<'_>,
    times: Times,
) -> Result<StateDownload, FederationError> {
    let servers = [request.destination.to_owned()];
    let take_in_outliers = |pdus| {
        let (kind, states) = (Kind::Outlier, BTreeMap::new());
        take_in(
            federation,
            Batch { room_id, room_version: version.id, kind, servers: &servers, pdus, states },
        )
    };
    state_downloads::receive(federation, room_id, version, request, times, take_in_outliers).await
}

/// The states before events, by event id, as `servers` report them. Missing events of the states go through
/// intake. States that cannot be fetched are left out.
///
/// # Errors
///
/// 503 if the database is not reachable.
pub async fn states_before(
    federation: &Federation,
    room_id: &str,
    version: &'static RoomVersion,
    servers: &[String],
    event_ids: &BTreeSet<String>,
) -> Result<States, ApiError> {
    let mut found = States::new();
    for event_id in event_ids {
        let (kind, pdus, states) = (Kind::Live, Vec::new(), BTreeMap::new());
        let batch = Batch { room_id, room_version: version.id, kind, servers, pdus, states };
        let mut intake = Intake::new(federation, version, batch);
        // The reason for a failure was logged.
        if intake.fetch_state(event_id).await?.is_ok() {
            intake.take_in_outliers().await?;
            found.append(&mut intake.states);
        }
    }
    Ok(found)
}

/// The intake of one batch.
struct Intake<'i, S> {
    surroundings: &'i S,
    version: &'static RoomVersion,
    room_id: &'i str,
    kind: Kind,
    servers: &'i [String],
    /// Other servers in the room, looked up when they are needed.
    others: OnceCell<Vec<String>>,
    /// Servers that did not answer and are not asked again, with the reason.
    silent: Mutex<BTreeMap<String, String>>,
    /// The events of the batch, and their fetched previous events.
    main: Pool,
    /// Auth events and events of states. They are received before `main`.
    outliers: Pool,
    states: States,
    /// What intake does without. Previous events may still be fetched as auth events.
    given_up: GivenUp,
    unavailable: AllUnavailable,
    /// Servers whose keys were fetched.
    asked: BTreeSet<String>,
    /// Events that a policy server was asked to sign.
    asked_to_sign: BTreeSet<String>,
    /// Events that are or were in `main`, and in `outliers`.
    main_ids: BTreeSet<String>,
    outlier_ids: BTreeSet<String>,
    /// Events that were stored.
    stored: BTreeSet<String>,
    budget: Budget,
    /// Whether a request failed that may be answered later.
    has_failed: AtomicBool,
    taken: Vec<Taken>,
}

impl<'i, S: Surroundings> Intake<'i, S> {
    fn new(surroundings: &'i S, version: &'static RoomVersion, batch: Batch<'i>) -> Self {
        let mut main = Pool::default();
        let mut taken = Vec::with_capacity(batch.pdus.len());
        for (index, text) in batch.pdus.into_iter().enumerate() {
            match Open::read(version, batch.room_id, text) {
                Ok(open) => {
                    taken.push(Taken {
                        event_id: Some(open.event_id.clone()),
                        // Remains if the intake ends before a verdict.
                        verdict: Err(Unavailable { reason: "it was not looked at".to_owned(), later: true }),
                    });
                    main.events.push(Open { index: Some(index), ..open });
                }
                Err(reason) => taken.push(Taken { event_id: None, verdict: Ok(Verdict::refused(reason)) }),
            }
        }
        Self {
            surroundings,
            version,
            room_id: batch.room_id,
            kind: batch.kind,
            servers: batch.servers,
            others: OnceCell::new(),
            silent: Mutex::default(),
            outliers: Pool::default(),
            states: batch.states,
            given_up: GivenUp::default(),
            unavailable: AllUnavailable::default(),
            asked: BTreeSet::new(),
            asked_to_sign: BTreeSet::new(),
            main_ids: main.events.iter().map(|event| event.event_id.clone()).collect(),
            outlier_ids: BTreeSet::new(),
            stored: BTreeSet::new(),
            budget: Budget::new(batch.kind),
            has_failed: AtomicBool::new(false),
            taken,
            main,
        }
    }

    /// Hands the events to the database, and fetches what they need. Returns whether there is more to do.
    async fn round(&mut self) -> Result<bool, ApiError> {
        self.drop_hopeless();
        if !self.outliers.events.is_empty() {
            let pool = std::mem::take(&mut self.outliers);
            self.outliers = self.receive(pool, Kind::Outlier).await?;
            self.drop_hopeless();
        }
        if self.outliers.events.is_empty() && !self.main.events.is_empty() {
            let pool = std::mem::take(&mut self.main);
            self.main = self.receive(pool, self.kind).await?;
            self.drop_hopeless();
        }
        if self.main.events.is_empty() {
            return Ok(false);
        }
        if let Err(limit) = self.budget.round() {
            self.stop(limit);
            return Ok(false);
        }
        self.fetch().await?;
        Ok(true)
    }

    /// Puts only the outliers through intake, with what they need.
    async fn take_in_outliers(&mut self) -> Result<(), ApiError> {
        loop {
            let pool = std::mem::take(&mut self.outliers);
            self.outliers = self.receive(pool, Kind::Outlier).await?;
            self.drop_hopeless();
            if self.outliers.events.is_empty() || self.budget.round().is_err() {
                return Ok(());
            }
            self.fetch().await?;
        }
    }

    /// Hands a pool to the database in parts, and repeats that while it settles events. Returns the events
    /// that need something that is not in the pool.
    async fn receive(&mut self, mut pool: Pool, kind: Kind) -> Result<Pool, ApiError> {
        loop {
            // Compared by id, since servers may list an event twice: in the state and in the auth chain.
            let count = pool.events.len();
            let before: BTreeSet<String> = pool.events.iter().map(|open| open.event_id.clone()).collect();
            let mut open = Pool::default();
            let max_events = match kind {
                Kind::Live | Kind::Relayed => self.surroundings.at_once(self.room_id, CHUNK_EVENTS),
                Kind::Backfilled | Kind::Outlier => CHUNK_EVENTS,
            };
            for part in pool.parts(max_events, CHUNK_BYTES) {
                self.receive_part(part, kind, &mut open).await?;
            }
            pool = open;
            // An event that needs an event of another part is settled by the next pass.
            let waits = pool.events.iter().any(|open| open.needs.cited().any(|id| before.contains(id)));
            if !waits || pool.events.len() == count {
                break;
            }
        }
        Ok(pool)
    }

    async fn receive_part(&mut self, part: Vec<Open>, kind: Kind, open: &mut Pool) -> Result<(), ApiError> {
        let texts: Vec<&str> = part.iter().map(|event| event.text.as_str()).collect();
        let states: BTreeMap<&str, &Vec<String>> = part
            .iter()
            .filter_map(|event| Some((event.event_id.as_str(), self.states.get(&event.event_id)?)))
            .collect();
        let (room_id, version) = (self.room_id, self.version);
        let given_up = &self.given_up;
        let answer =
            self.surroundings.receive(Part { room_id, version, kind, texts, states, given_up }).await?;
        for (mut event, report) in part.into_iter().zip(answer.pdus) {
            match report.verdict {
                Verdict::Needs { needs } => {
                    event.needs = needs;
                    open.events.push(event);
                }
                verdict => self.settle(event, Ok(verdict)),
            }
        }
        Ok(())
    }

    /// Records the verdict of an event. If it was not stored, events that need it cannot be stored either.
    fn settle(&mut self, event: Open, verdict: Result<Verdict, Unavailable>) {
        let lost = match &verdict {
            Ok(Verdict::Refused { reason }) => Some((reason, false)),
            Ok(_) => None,
            Err(Unavailable { reason, later }) => Some((reason, *later)),
        };
        match lost {
            None => {
                self.unavailable.events.remove(&event.event_id);
                self.stored.insert(event.event_id);
            }
            // This may be a forged copy of an event that was stored.
            Some(_) if self.stored.contains(&event.event_id) => {}
            Some((reason, later)) => {
                debug!(room_id = self.room_id, event_id = event.event_id, reason, "an event is lost");
                let reason = format!("{} cannot be fetched: {reason}", event.event_id);
                self.unavailable.events.entry(event.event_id).or_insert(Unavailable { reason, later });
            }
        }
        if let Some(index) = event.index {
            self.taken[index].verdict = verdict;
        }
    }

    /// Gives up what cannot be fetched, and the events that depend on it; repeats this, as others may depend
    /// on those.
    fn drop_hopeless(&mut self) {
        loop {
            self.do_without_lost_state();
            let mut hopeless = self.take_hopeless(true);
            hopeless.extend(self.take_hopeless(false));
            if hopeless.is_empty() {
                return;
            }
            for (event, lack) in hopeless {
                self.settle(event, Err(lack));
            }
        }
    }

    /// Removes events from given states that cannot be fetched.
    fn do_without_lost_state(&mut self) {
        for event in &self.main.events {
            let Some(state) = self.states.get_mut(&event.event_id) else { continue };
            let needed = event.needs.events.iter().filter(|id| self.unavailable.events.contains_key(*id));
            let lost: BTreeSet<&String> = needed.collect();
            if !lost.is_empty() {
                state.retain(|event_id| !lost.contains(event_id));
            }
        }
    }

    fn take_hopeless(&mut self, from_main: bool) -> Vec<(Open, Unavailable)> {
        let pool = if from_main { &mut self.main } else { &mut self.outliers };
        let (mut hopeless, mut kept) = (Vec::new(), Vec::new());
        for event in std::mem::take(&mut pool.events) {
            let has_state = self.states.contains_key(&event.event_id);
            match event.lacks(&self.unavailable, has_state, from_main) {
                Some(lack) => hopeless.push((event, lack)),
                None => {
                    let needs = &event.needs;
                    let keys = needs.keys.iter().map(|(server, _)| server);
                    let keys = keys.filter(|server| self.unavailable.keys.contains_key(*server));
                    self.given_up.keys.extend(keys.cloned());
                    let prev_events = needs.prev_events.iter();
                    let prev_events = prev_events.filter(|id| self.unavailable.events.contains_key(*id));
                    self.given_up.prev_events.extend(prev_events.cloned());
                    kept.push(event);
                }
            }
        }
        pool.events = kept;
        hopeless
    }

    /// Ends the intake at a limit. If the limit is time, or if it was reached because requests failed, the
    /// events are tried again later: slow and failing servers must not cause a loss.
    fn stop(&mut self, limit: &'static str) {
        let origin = self.servers.first();
        warn!(room_id = self.room_id, origin, limit, open = self.main.events.len(), "events need too much");
        crate::base::metrics::federation_limit(limit);
        let later = limit == "time" || self.has_failed.load(Ordering::Relaxed);
        for event in std::mem::take(&mut self.main.events) {
            let reason = format!("what it needs is over the limit of {limit}");
            self.settle(event, Err(Unavailable { reason, later }));
        }
    }

    fn finish(self) -> Vec<Taken> {
        self.taken
    }
}
