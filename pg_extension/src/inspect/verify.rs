//! Computes a room's derived data again and compares it with what is stored.
//!
//! Each check reports what it finds, and repairs it when [`repair`](crate::inspect::repair) runs it. So
//! verify and repair cannot disagree. Events are checked in batches. Each batch has an SPI connection of its
//! own, whose memory is freed with it.

mod current_state;
mod events;
mod forward_extremities;
mod members;
mod nodes;
mod redactions;
mod references;
pub(crate) mod report;
mod servers;
mod states;
mod verdicts;
pub(crate) mod walk;

use std::collections::{BTreeSet, HashMap, HashSet};

use matriarch_rules::hash::content_hash_matches;
use pgrx::{iter::TableIterator, name, notice, pg_extern};

use self::{
    report::{Finding, Report},
    walk::Walk,
};
use crate::{
    base::{connection::connect, spi::Mode},
    inspect::explain::refuse,
    room::{
        Room,
        graph_events::{GraphEvent, GraphEvents},
        resolve::RoomGraph,
        state_keys::StateKeys,
    },
};

/// The number of events that are checked in one batch.
pub(crate) const BATCH: usize = 1_000;

/// A NOTICE tells the progress after each such number of events.
const PROGRESS: usize = 10_000;

/// Types of events of which the authorization rules of some room version read more than redaction keeps.
const READ_BY_RULES: [&str; 5] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.redaction",
    "m.room.third_party_invite",
];

/// The checks of a room, and what they found.
pub(crate) struct Verifier {
    room_id: String,
    mode: Mode,
    pub report: Report,
    /// Events whose JSON is not what was signed. Nothing is concluded from them.
    damaged: HashSet<i64>,
    /// Events whose status was found wrong. What follows from it is not reported as well.
    doubted: HashSet<i64>,
    /// Nodes of the trie that are wrong, or from which a wrong one is reached.
    broken_nodes: HashSet<i64>,
    /// The rows of `missing_prev_events` by citing event. Correct rows are removed; what remains is wrong.
    missing_prevs: HashMap<i64, BTreeSet<String>>,
}

/// A room as it is read on one SPI connection.
pub(crate) struct View<'v, 'd> {
    pub room: &'v Room<'d>,
    pub graph: RoomGraph<'v, 'd, 'd>,
}

/// Computes a room's derived data again. Returns a row per disagreement with what is stored.
#[pg_extern(stable)]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn verify_room(
    room_id: &str,
) -> TableIterator<
    'static,
    (
        name!(check_name, &'static str),
        name!(event_id, Option<String>),
        name!(subject, Option<String>),
        name!(found, Option<String>),
        name!(expected, Option<String>),
    ),
> {
    let mut verifier = Verifier::new(room_id, Mode::Read);
    verifier.verify();
    TableIterator::new(verifier.report.finish().map(|finding| {
        let Finding { check, event_id, subject, found, expected, .. } = finding;
        (check, event_id, subject, found, expected)
    }))
}

impl Verifier {
    /// In [`Mode::Write`] what can be repaired is repaired. The caller holds the room's lock then.
    pub fn new(room_id: &str, mode: Mode) -> Self {
        Self {
            room_id: room_id.to_owned(),
            mode,
            report: Report::new(mode == Mode::Write),
            damaged: HashSet::new(),
            doubted: HashSet::new(),
            broken_nodes: HashSet::new(),
            missing_prevs: HashMap::new(),
        }
    }

    fn verify(&mut self) {
        self.with_view(Self::read_missing_prevs);
        self.check_nodes();
        let mut walk = Walk::default();
        let mut done = 0;
        loop {
            let batch = self.with_view(|verifier, view| {
                let nids = walk.next(view);
                verifier.check_events(view, &nids);
                verifier.check_references(view, &nids);
                verifier.check_states(view, &nids);
                nids.len()
            });
            if batch == 0 {
                break;
            }
            done += batch;
            self.tell_progress("verified", done, batch);
        }
        self.with_view(Self::check_missing_prevs);
        self.with_view(Self::check_waiting_redactions);
        self.with_view(Self::check_forward_extremities);
        self.check_current_state();
    }

    /// Calls `work` with the room on an SPI connection of its own.
    ///
    /// # Errors
    ///
    /// An unknown room ends the statement with an ERROR.
    pub fn with_view<R>(&mut self, work: impl FnOnce(&mut Self, &View<'_, '_>) -> R) -> R {
        let room_id = self.room_id.clone();
        connect(self.mode, |db| {
            let room = Room::read(db, &room_id);
            let room = room.unwrap_or_else(|| refuse(format!("the room {room_id} is not known")));
            let events = GraphEvents::tolerant(db);
            let keys = StateKeys::new(db, room.nid);
            let graph = RoomGraph::new(&room, &events, &keys);
            work(self, &View { room: &room, graph })
        })
    }

    /// Reports progress by a NOTICE every [`PROGRESS`] events.
    pub fn tell_progress(&self, what: &str, done: usize, batch: usize) {
        if done / PROGRESS > (done - batch) / PROGRESS {
            notice!("{}: {done} events {what}", self.room_id);
        }
    }

    /// Whether what follows from the event can be computed again. A redacted event may have lost fields that
    /// the authorization rules read before.
    fn is_reliable(&self, event: &GraphEvent) -> bool {
        !self.damaged.contains(&event.nid)
            && !self.doubted.contains(&event.nid)
            && (!READ_BY_RULES.contains(&event.event.event_type())
                || content_hash_matches(event.event.exact()))
    }
}
