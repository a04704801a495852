//! Where backfilled events go in the timeline: right before the events that cite them.
//!
//! A live event before which others are missing leaves room for them ([`HOLE_STEP`]). A batch takes a small part of what
//! room there is, so that there is some left for what comes before its events, and between them.

use std::collections::{BTreeMap, HashMap, HashSet};

use matriarch_rules::Event;

use crate::room::{POS_STEP, Room};

/// How far a live event is from the one before it if others are missing between them.
pub const HOLE_STEP: i64 = 1 << 36;
/// How many batches of the same size have room in a gap, if each takes its part of what the others left.
const SHARE: i64 = 64;
/// How far from the beginning of the timeline an event goes that nothing there comes after.
const AHEAD: i64 = 1 << 40;

/// The first of the stored events that cite each, and whether all of those are loose.
const CITING: &str = "
    select m.prev_event_id, min(e.pos) as first_pos,
        bool_and(exists (select from events_without_successor l where l.event_nid = m.event_nid)) as loose
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

/// The event behind the gap that an event of this depth lies in.
const BEHIND: &str = "
    select e.pos
    from (select event_nid from missing_prev_events where room_nid = $1 offset 0) m
    cross join lateral (select pos, depth from events where event_nid = m.event_nid offset 0) e
    where e.pos is not null and e.depth > $2
    order by e.depth, e.pos
    limit 1";

const BEFORE: &str = "
    select pos, notify_seq from events where room_nid = $1 and pos < $2 order by pos desc limit 1";

const FIRST_POS: &str = "select first_pos from rooms where room_nid = $1";

/// The place of an event.
#[derive(Debug, Clone, Copy)]
pub struct Position {
    pub pos: i64,
    /// That of the event before it: what is backfilled counts for nobody.
    pub notify_seq: i64,
}

/// The positions of a batch.
#[derive(Debug, Default)]
pub struct Positions {
    by_id: HashMap<String, Position>,
    loose: HashSet<String>,
}

/// What is known of those who cite an event.
#[derive(Debug, Clone, Copy)]
struct Citing {
    first_pos: i64,
    loose: bool,
}

impl Positions {
    /// Finds positions for events that are not in the timeline, each after those of the batch that it cites. Those for which
    /// there is no room have none.
    pub fn find(room: &Room<'_>, batch: &[&Event]) -> Self {
        let ids: Vec<&str> = batch.iter().map(|event| event.event_id()).collect();
        let rows = room.db.query(CITING, &[room.nid.into(), ids.into()]);
        let mut before: HashMap<String, Citing> = rows
            .map(|row| {
                (
                    row.get("prev_event_id"),
                    Citing { first_pos: row.get("first_pos"), loose: row.get("loose") },
                )
            })
            .collect();
        // What comes later in the batch cites what comes earlier.
        for event in batch.iter().rev() {
            let Some(&citing) = before.get(event.event_id()) else { continue };
            for prev in event.prev_events() {
                let of_prev = before.entry(prev.to_owned()).or_insert(citing);
                of_prev.first_pos = citing.first_pos.min(of_prev.first_pos);
                of_prev.loose &= citing.loose;
            }
        }
        let mut runs: BTreeMap<i64, Vec<&str>> = BTreeMap::new();
        let mut loose = Vec::new();
        for event in batch {
            match before.get(event.event_id()) {
                Some(citing) => runs.entry(citing.first_pos).or_default().push(event.event_id()),
                None => loose.push(*event),
            }
        }
        let is_loose = |id: &&str| before.get(*id).is_none_or(|citing| citing.loose);
        let mut positions = Self {
            loose: batch.iter().map(|event| event.event_id()).filter(is_loose).map(str::to_owned).collect(),
            ..Self::default()
        };
        for (pos, run) in runs {
            let limits = Limits::before(room, pos);
            positions.add(&run, limits, pos);
        }
        positions.add_loose(room, &loose);
        positions
    }

    /// The place of an event, if there is one.
    pub fn of(&self, event_id: &str) -> Option<Position> {
        self.by_id.get(event_id).copied()
    }

    /// Whether no event of the timeline is known to come after this one; see `events_without_successor`.
    pub fn is_loose(&self, event_id: &str) -> bool {
        self.loose.contains(event_id)
    }

    /// Events that nothing here comes after: in the midst of the gap that they lie in by their depth.
    fn add_loose(&mut self, room: &Room<'_>, loose: &[&Event]) {
        let Some(depth) = loose.iter().map(|event| event.depth()).max() else { return };
        let run: Vec<&str> = loose.iter().map(|event| event.event_id()).collect();
        match room.db.query_opt(BEHIND, &[room.nid.into(), depth.into()]) {
            Some(row) => {
                let limits = Limits::before(room, row.get("pos"));
                let last = match limits.lower {
                    Some(lower) => lower + (limits.upper - lower) / 2,
                    None => limits.upper - AHEAD,
                };
                self.add(&run, Limits { upper: last, ..limits }, last);
            }
            None => {
                let first_pos: i64 = room.db.query_one(FIRST_POS, &[room.nid.into()]).get("first_pos");
                let limits = Limits::before(room, first_pos);
                self.add(&run, limits, limits.upper);
            }
        }
    }

    /// Gives a run of events positions before `pos`, as far as there are any.
    fn add(&mut self, run: &[&str], limits: Limits, pos: i64) {
        let mut cursor = pos.min(limits.upper);
        let count = i64::try_from(run.len()).unwrap_or(i64::MAX);
        let step = match limits.lower {
            Some(lower) => ((cursor - lower) / count.saturating_mul(SHARE)).clamp(1, POS_STEP),
            None => POS_STEP,
        };
        for event_id in run.iter().rev() {
            cursor -= step;
            // Those are the positions of live events.
            if cursor > 0 && cursor % POS_STEP == 0 {
                cursor -= 1;
            }
            if limits.lower.is_some_and(|lower| cursor <= lower) {
                return;
            }
            self.by_id
                .insert((*event_id).to_owned(), Position { pos: cursor, notify_seq: limits.notify_seq });
        }
    }
}

/// Between which positions there is room.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Absent at the beginning of the timeline.
    lower: Option<i64>,
    upper: i64,
    notify_seq: i64,
}

impl Limits {
    fn before(room: &Room<'_>, pos: i64) -> Self {
        match room.db.query_opt(BEFORE, &[room.nid.into(), pos.into()]) {
            Some(row) => Self { lower: Some(row.get("pos")), upper: pos, notify_seq: row.get("notify_seq") },
            // Below 0 there is no end of room.
            None => Self { lower: None, upper: pos.min(0), notify_seq: 0 },
        }
    }
}
