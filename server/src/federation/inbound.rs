//! Puts staged events, which other servers sent in transactions, through intake.
//!
//! A queue contains the staged events of one origin in one room. Nodes lease queues, so that queues are
//! processed in parallel and each queue in order; no database lock is held while other servers are asked. Few
//! queues of one origin are leased at the same time, so that a slow origin does not delay the others. A lease
//! that expires shows that its node died. The events of that queue are then processed one by one, and each
//! attempt is counted before it starts, so that an event that crashes nodes is given up in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use matriarch_wire::Verdict;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::Notify;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tracing::{debug, warn};

use super::base::Federation;
use super::intake::batch::{Batch, Kind, Taken, Unavailable};
use super::intake::take_in;
use super::leased_work::{self, LeasedWork, while_renewed};
use crate::base::error::ApiError;

/// How many events go through intake together.
const MAX_EVENTS: i64 = 50;
/// A third of the time that a lease lasts.
const RENEWAL: Duration = Duration::from_secs(10);
/// Pauses between attempts, in seconds. After the last attempt the event is given up.
const PAUSES: [f64; 5] = [10.0, 60.0, 300.0, 1800.0, 7200.0];

const CLAIM: &str = include_str!("inbound/claim.sql");
const READ: &str = include_str!("inbound/read.sql");
const COUNT_ATTEMPT: &str = "
update matriarch.inbound_pdus set attempts = attempts + 1
where room_nid = $1 and origin = $2 and inbound_id = $3";
const SETTLE: &str = include_str!("inbound/settle.sql");
const RENEW: &str = "
update matriarch.inbound_queues set leased_until = now() + interval '30 seconds'
where room_nid = $1 and origin = $2";
const RELEASE: &str = include_str!("inbound/release.sql");

/// Processes inbound queues on this node. Cheap to clone.
#[derive(Clone)]
pub struct Inbound {
    federation: Federation,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    arrived: Notify,
    /// Leased queues, each with its generation when it was leased.
    leased: Mutex<BTreeMap<(i64, String), i64>>,
}

/// A leased queue.
pub struct Queue {
    room_nid: i64,
    room_id: String,
    room_version: String,
    origin: String,
    generation: i64,
    /// The previous lease expired: its node did not end it.
    abandoned: bool,
}

/// A staged event.
struct Staged {
    inbound_id: i64,
    event_id: String,
    attempts: i16,
    json: String,
}

impl Inbound {
    /// Leases nothing until [`Self::run`].
    pub fn new(federation: Federation) -> Self {
        Self { federation, shared: Arc::default() }
    }

    /// Tells the node that it has staged events.
    pub fn arrived(&self) {
        self.shared.arrived.notify_one();
    }

    /// Processes queues for as long as the node runs.
    pub async fn run(self) {
        leased_work::run(self).await;
    }

    /// Ends the remaining leases when the node stops.
    pub async fn release_all(&self) {
        let leased = std::mem::take(&mut *self.leased());
        for ((room_nid, origin), generation) in leased {
            let _logged = self.federation.db.query(RELEASE, &[&room_nid, &origin, &generation]).await;
        }
    }

    fn leased(&self) -> MutexGuard<'_, BTreeMap<(i64, String), i64>> {
        self.shared.leased.lock()
    }
}

impl LeasedWork for Inbound {
    type Lease = Queue;

    /// Many, since a worker that takes long waits for other servers and uses no CPU.
    const WORKERS: usize = 32;
    const POLL: Duration = Duration::from_secs(2);

    fn wake_up(&self) -> &Notify {
        &self.shared.arrived
    }

    async fn claim(&self, _limit: usize) -> Result<Vec<Queue>, ApiError> {
        let row = self.federation.db.query_opt(CLAIM, &[]).await?;
        let queue = row.map(|row| Queue {
            room_nid: row.get("room_nid"),
            room_id: row.get("room_id"),
            room_version: row.get("room_version"),
            origin: row.get("origin"),
            generation: row.get("generation"),
            abandoned: row.get("abandoned"),
        });
        if let Some(queue) = &queue {
            self.leased().insert((queue.room_nid, queue.origin.clone()), queue.generation);
        }
        Ok(queue.into_iter().collect())
    }

    async fn work(self, queue: Queue) {
        let federation = &self.federation;
        let renew =
            || async { federation.db.query(RENEW, &[&queue.room_nid, &queue.origin]).await.map(drop) };
        // The failure was logged; the lease is ended at once if the database is reachable.
        let _logged = while_renewed(RENEWAL, renew, work_off(federation, &queue)).await;
        let params: [&(dyn ToSql + Sync); 3] = [&queue.room_nid, &queue.origin, &queue.generation];
        let _logged = federation.db.query(RELEASE, &params).await;
        self.leased().remove(&(queue.room_nid, queue.origin));
    }
}

/// Puts the due events of a queue through intake.
async fn work_off(federation: &Federation, queue: &Queue) -> Result<(), ApiError> {
    loop {
        let at_once = if queue.abandoned { 1 } else { MAX_EVENTS };
        let rows = federation.db.query(READ, &[&queue.room_nid, &queue.origin, &at_once]).await?;
        let staged: Vec<Staged> = rows.iter().map(staged).collect();
        if let (true, [one]) = (queue.abandoned, staged.as_slice()) {
            federation.db.query(COUNT_ATTEMPT, &[&queue.room_nid, &queue.origin, &one.inbound_id]).await?;
        }
        let is_last = staged.len() < usize::try_from(at_once).unwrap_or(usize::MAX);
        take(federation, queue, staged).await?;
        if is_last {
            return Ok(());
        }
    }
}

fn staged(row: &Row) -> Staged {
    Staged {
        inbound_id: row.get("inbound_id"),
        event_id: row.get("event_id"),
        attempts: row.get("attempts"),
        json: row.get("json"),
    }
}

/// Puts events through intake together or, if that fails, one by one, so that one event does not block the
/// others.
async fn take(federation: &Federation, queue: &Queue, staged: Vec<Staged>) -> Result<(), ApiError> {
    if staged.is_empty() {
        return Ok(());
    }
    if let Ok(taken) = take_together(federation, queue, &staged).await {
        return settle(federation, queue, &staged, &taken).await;
    }
    for event in staged {
        let event = std::slice::from_ref(&event);
        let taken = match take_together(federation, queue, event).await {
            Ok(taken) => taken,
            Err(error) => {
                let lack = Unavailable { reason: error.message.into_owned(), later: true };
                vec![Taken { event_id: None, verdict: Err(lack) }]
            }
        };
        settle(federation, queue, event, &taken).await?;
    }
    Ok(())
}

async fn take_together(
    federation: &Federation,
    queue: &Queue,
    staged: &[Staged],
) -> Result<Vec<Taken>, ApiError> {
    let batch = Batch {
        room_id: &queue.room_id,
        room_version: &queue.room_version,
        kind: Kind::Live,
        servers: std::slice::from_ref(&queue.origin),
        pdus: staged.iter().map(|event| event.json.clone()).collect(),
        states: BTreeMap::new(),
    };
    take_in(federation, batch).await
}

/// Deletes the events that are finished from the queue, and schedules the next attempt of the others.
async fn settle(
    federation: &Federation,
    queue: &Queue,
    staged: &[Staged],
    taken: &[Taken],
) -> Result<(), ApiError> {
    let mut done = BTreeSet::new();
    let mut stored = Vec::new();
    let (mut waiting, mut pauses, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for (event, taken) in staged.iter().zip(taken) {
        let Queue { room_id, origin, .. } = queue;
        let event_id = &event.event_id;
        crate::base::metrics::inbound_pdu(verdict_name(&taken.verdict));
        match &taken.verdict {
            Err(Unavailable { reason, later: true }) => {
                let pause = usize::try_from(event.attempts).ok().and_then(|attempts| PAUSES.get(attempts));
                if let Some(pause) = pause {
                    debug!(room_id, event_id, origin, reason, "an event has to wait");
                    waiting.push(event.inbound_id);
                    pauses.push(*pause);
                    errors.push(reason.replace('\0', "\u{fffd}"));
                } else {
                    warn!(room_id, event_id, origin, reason, "an event is given up: it was tried too often");
                    crate::base::metrics::federation_limit("attempts");
                    done.insert(event.inbound_id);
                }
            }
            Err(Unavailable { reason, later: false }) => {
                warn!(room_id, event_id, origin, reason, "an event is given up: its needs cannot be met");
                done.insert(event.inbound_id);
            }
            Ok(Verdict::Refused { reason }) => {
                debug!(room_id, event_id, origin, reason, "an event is refused");
                done.insert(event.inbound_id);
            }
            Ok(_) => {
                done.insert(event.inbound_id);
                stored.push(event.event_id.as_str());
            }
        }
    }
    let done: Vec<i64> = done.into_iter().collect();
    let params: [&(dyn ToSql + Sync); 7] =
        [&queue.room_nid, &queue.origin, &done, &waiting, &pauses, &errors, &stored];
    federation.db.query(SETTLE, &params).await?;
    Ok(())
}

fn verdict_name(verdict: &Result<Verdict, Unavailable>) -> &'static str {
    match verdict {
        Ok(verdict) => verdict.name(),
        Err(Unavailable { later: true, .. }) => "waiting",
        Err(_) => "given up",
    }
}
