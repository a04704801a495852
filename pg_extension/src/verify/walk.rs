//! Through all events of a room, a batch at a time.

use super::{BATCH, View};

/// Those outside the timeline first, so that a wrong rejection is known before the events that cite what was rejected.
pub struct Walk {
    hidden: bool,
    after: i64,
}

const HIDDEN: &str = "
    select event_nid
    from events
    where room_nid = $1 and pos is null and event_nid > $2
    order by event_nid
    limit $3";

const TIMELINE: &str = "
    select event_nid, pos from events where room_nid = $1 and pos > $2 order by pos limit $3";

impl Default for Walk {
    fn default() -> Self {
        Self { hidden: true, after: i64::MIN }
    }
}

impl Walk {
    /// The next events; none at the end.
    pub fn next(&mut self, view: &View<'_, '_>) -> Vec<i64> {
        let args = |after: i64| [view.room.nid.into(), after.into(), (BATCH as i64).into()];
        if self.hidden {
            let rows = view.room.db.query(HIDDEN, &args(self.after));
            let nids: Vec<i64> = rows.map(|row| row.get(1)).collect();
            if let Some(last) = nids.last() {
                self.after = *last;
                return nids;
            }
            *self = Self { hidden: false, after: i64::MIN };
        }
        let rows = view.room.db.query(TIMELINE, &args(self.after));
        let places: Vec<(i64, i64)> = rows.map(|row| (row.get(1), row.get(2))).collect();
        if let Some((_, pos)) = places.last() {
            self.after = *pos;
        }
        places.into_iter().map(|(nid, _)| nid).collect()
    }
}
