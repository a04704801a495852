//! Everything that is derived of a room's events, computed again and compared with what is stored.
//!
//! Each check reports what it finds, and, when [`repair`](crate::inspect::repair) runs it, puts it right: there is one opinion on
//! what is right. Events are looked at in batches, each on an SPI connection of its own, since what a connection read is
//! freed with it.

mod current_state;
mod events;
mod heads;
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

/// How many events are looked at at a time.
pub(crate) const BATCH: usize = 1_000;

/// A NOTICE tells the progress each time that so many events have been looked at.
const PROGRESS: usize = 10_000;

/// Types of which the authorization rules read more, in some room version, than redaction leaves.
const READ_BY_RULES: [&str; 5] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.redaction",
    "m.room.third_party_invite",
];

/// The checks of a room, and what they know of it.
pub(crate) struct Verifier {
    room_id: String,
    mode: Mode,
    pub report: Report,
    /// Events whose JSON is not what was signed: nothing is concluded from them.
    damaged: HashSet<i64>,
    /// Events whose verdict was found wrong: what follows from it is not reported as well.
    doubted: HashSet<i64>,
    /// Nodes of the trie that do not say what they should, or from which such a one is reached.
    broken_nodes: HashSet<i64>,
    /// `missing_prev_events`, by the event that cites them. What was found right is taken out.
    missing_prevs: HashMap<i64, BTreeSet<String>>,
}

/// A room as one SPI connection reads it.
pub(crate) struct View<'v, 'd> {
    pub room: &'v Room<'d>,
    pub graph: RoomGraph<'v, 'd, 'd>,
}

/// Recomputes what is derived of a room's events; a row for each disagreement.
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
    /// In [`Mode::Write`] what can be repaired is repaired; the caller holds the room's lock.
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
        self.look(Self::read_missing_prevs);
        self.check_nodes();
        let mut walk = Walk::default();
        let mut done = 0;
        loop {
            let batch = self.look(|verifier, view| {
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
        self.look(Self::check_missing_prevs);
        self.look(Self::check_waiting_redactions);
        self.look(Self::check_heads);
        self.check_current_state();
    }

    /// Looks at the room on a connection of its own.
    ///
    /// # Errors
    ///
    /// An unknown room ends the statement.
    pub fn look<R>(&mut self, look: impl FnOnce(&mut Self, &View<'_, '_>) -> R) -> R {
        let room_id = self.room_id.clone();
        connect(self.mode, |db| {
            let room = Room::read(db, &room_id);
            let room = room.unwrap_or_else(|| refuse(format!("the room {room_id} is not known")));
            let events = GraphEvents::tolerant(db);
            let keys = StateKeys::new(db, room.nid);
            let graph = RoomGraph::new(&room, &events, &keys);
            look(self, &View { room: &room, graph })
        })
    }

    /// Says how far the work is, every [`PROGRESS`] events.
    pub fn tell_progress(&self, what: &str, done: usize, batch: usize) {
        if done / PROGRESS > (done - batch) / PROGRESS {
            notice!("{}: {done} events {what}", self.room_id);
        }
    }

    /// Whether what followed from the event can be computed again. One that was redacted may have lost what the
    /// authorization rules read then.
    fn is_whole(&self, event: &GraphEvent) -> bool {
        !self.damaged.contains(&event.nid)
            && !self.doubted.contains(&event.nid)
            && (!READ_BY_RULES.contains(&event.event.event_type())
                || content_hash_matches(event.event.json()))
    }
}
