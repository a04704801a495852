//! Positions of backfilled events in the timeline: right before the events that cite them.
//!
//! A live event whose previous events are missing gets a position farther from its predecessor, which leaves
//! positions for them ([`GAP_STEP`]). A batch uses a small part of the free positions of a gap, so that
//! positions are left for events that are found later, before its events and between them.

use std::collections::{BTreeMap, HashMap, HashSet};

use matriarch_rules::Event;

use crate::room::{POS_STEP, Room};

/// The distance of a live event from its predecessor in the timeline if events are missing between them.
pub const GAP_STEP: i64 = 1 << 36;
/// The number of batches of the same size that a gap has positions for, if each uses its part of what the
/// others left.
const SHARE: i64 = 64;
/// The distance of events without successor from the beginning of the timeline.
const WITHOUT_SUCCESSOR_DISTANCE: i64 = 1 << 40;

/// The first of the stored events that cite each event, and whether all of those are without successor.
const CITING: &str = "
    select m.prev_event_id, min(e.pos) as first_pos,
        bool_and(exists (select from events_without_successor l where l.event_nid = m.event_nid))
            as without_successor
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select prev_event_id, event_nid
        from missing_prev_events
        where room_nid = $1 and prev_event_id = wanted.event_id
        offset 0
    ) m
    cross join lateral (select pos from events where event_nid = m.event_nid offset 0) e
    where e.pos is not null
    group by m.prev_event_id";

/// The event that ends the gap to which an event of this depth belongs.
const GAP_END: &str = "
    select e.pos
    from (select event_nid from missing_prev_events where room_nid = $1 offset 0) m
    cross join lateral (select pos, depth from events where event_nid = m.event_nid offset 0) e
    where e.pos is not null and e.depth > $2
    order by e.depth, e.pos
    limit 1";

const PREDECESSOR: &str = "
    select pos, notify_seq from events where room_nid = $1 and pos < $2 order by pos desc limit 1";

const FIRST_POS: &str = "select first_pos from rooms where room_nid = $1";

/// The position of an event.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    pub pos: i64,
    /// `notify_seq` of the event's predecessor in the timeline: backfilled events notify nobody.
    pub notify_seq: i64,
}

/// The positions of the events of a batch.
#[derive(Debug, Default)]
pub struct Positions {
    by_id: HashMap<String, Position>,
    without_successor: HashSet<String>,
}

/// The events that cite an event.
#[derive(Debug, Clone, Copy)]
struct Citing {
    first_pos: i64,
    without_successor: bool,
}

impl Positions {
    /// Chooses positions for events that are not in the timeline. `batch` is in topological order. Events for
    /// which a gap has no positions left get none.
    pub fn find(room: &Room<'_>, batch: &[&Event]) -> Self {
        let ids: Vec<&str> = batch.iter().map(|event| event.event_id()).collect();
        let rows = room.db.query(CITING, &[room.nid.into(), ids.into()]);
        let mut before: HashMap<String, Citing> = rows
            .map(|row| {
                (
                    row.get("prev_event_id"),
                    Citing {
                        first_pos: row.get("first_pos"),
                        without_successor: row.get("without_successor"),
                    },
                )
            })
            .collect();
        // Later events of the batch cite earlier ones.
        for event in batch.iter().rev() {
            let Some(&citing) = before.get(event.event_id()) else { continue };
            for prev in event.prev_events() {
                let of_prev = before.entry(prev.to_owned()).or_insert(citing);
                of_prev.first_pos = citing.first_pos.min(of_prev.first_pos);
                of_prev.without_successor &= citing.without_successor;
            }
        }
        let mut runs: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        let mut without_successor = Vec::new();
        for event in batch {
            match before.get(event.event_id()) {
                Some(citing) => runs.entry(citing.first_pos).or_default().push(event.event_id()),
                None => without_successor.push(*event),
            }
        }
        let lacks_successor = |id: &&str| before.get(*id).is_none_or(|citing| citing.without_successor);
        let mut positions = Self {
            without_successor: batch
                .iter()
                .map(|event| event.event_id())
                .filter(lacks_successor)
                .map(str::to_owned)
                .collect(),
            ..Self::default()
        };
        for (pos, run) in runs {
            let bounds = Bounds::before(room, pos);
            positions.add(&run, bounds, pos);
        }
        positions.add_without_successor(room, &without_successor);
        positions
    }

    /// The position of an event, if it got one.
    pub fn of(&self, event_id: &str) -> Option<Position> {
        self.by_id.get(event_id).copied()
    }

    /// Whether no event of the timeline is known to follow this one; see `events_without_successor`.
    pub fn lacks_successor(&self, event_id: &str) -> bool {
        self.without_successor.contains(event_id)
    }

    /// Puts events without successor into the middle of the gap to which they belong by their depth.
    fn add_without_successor(&mut self, room: &Room<'_>, without_successor: &[&Event]) {
        let Some(depth) = without_successor.iter().map(|event| event.depth()).max() else { return };
        let run: Vec<&str> = without_successor.iter().map(|event| event.event_id()).collect();
        match room.db.query_opt(GAP_END, &[room.nid.into(), depth.into()]) {
            Some(row) => {
                let bounds = Bounds::before(room, row.get("pos"));
                let last = match bounds.lower {
                    Some(lower) => lower + (bounds.upper - lower) / 2,
                    None => bounds.upper - WITHOUT_SUCCESSOR_DISTANCE,
                };
                self.add(&run, Bounds { upper: last, ..bounds }, last);
            }
            None => {
                let first_pos: i64 = room.db.query_one(FIRST_POS, &[room.nid.into()]).get("first_pos");
                let bounds = Bounds::before(room, first_pos);
                self.add(&run, bounds, bounds.upper);
            }
        }
    }

    /// Gives a run of events positions before `pos`, as far as there are any.
    fn add(&mut self, run: &[&str], bounds: Bounds, pos: i64) {
        let mut cursor = pos.min(bounds.upper);
        let count = i64::try_from(run.len()).unwrap_or(i64::MAX);
        let step = match bounds.lower {
            Some(lower) => ((cursor - lower) / count.saturating_mul(SHARE)).clamp(1, POS_STEP),
            None => POS_STEP,
        };
        for event_id in run.iter().rev() {
            cursor -= step;
            // Multiples of the step are the positions of live events.
            if cursor > 0 && cursor % POS_STEP == 0 {
                cursor -= 1;
            }
            if bounds.lower.is_some_and(|lower| cursor <= lower) {
                return;
            }
            self.by_id
                .insert((*event_id).to_owned(), Position { pos: cursor, notify_seq: bounds.notify_seq });
        }
    }
}

/// The bounds of the free positions.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// `None` at the beginning of the timeline.
    lower: Option<i64>,
    upper: i64,
    notify_seq: i64,
}

impl Bounds {
    fn before(room: &Room<'_>, pos: i64) -> Self {
        match room.db.query_opt(PREDECESSOR, &[room.nid.into(), pos.into()]) {
            Some(row) => Self { lower: Some(row.get("pos")), upper: pos, notify_seq: row.get("notify_seq") },
            // Below 0 there are always free positions.
            None => Self { lower: None, upper: pos.min(0), notify_seq: 0 },
        }
    }
}
