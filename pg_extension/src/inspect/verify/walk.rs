//! Reads all events of a room, one batch at a time.

use super::{BATCH, View};

/// Events that were not accepted are read first, so that a wrong rejection is known before the events that
/// cite the rejected event.
#[derive(Default)]
pub struct Walk {
    part: usize,
    /// The nid or `pos` up to which the part was read.
    after: Option<i64>,
}

/// Each part is read by an index.
const PARTS: [&str; 3] = [
    "
    select event_nid, event_nid as cursor
    from events
    where room_nid = $1 and status in (soft_failed(), rejected()) and event_nid > $2
    order by event_nid
    limit $3",
    "
    select event_nid, event_nid as cursor
    from events
    where room_nid = $1 and pos is null and status in (accepted(), outlier()) and event_nid > $2
    order by event_nid
    limit $3",
    "
    select event_nid, pos as cursor
    from events
    where room_nid = $1 and pos > $2
    order by pos
    limit $3",
];

impl Walk {
    /// The next events; none at the end.
    pub fn next(&mut self, view: &View<'_, '_>) -> Vec<i64> {
        while let Some(part) = PARTS.get(self.part) {
            let after = self.after.unwrap_or(i64::MIN);
            let rows = view.room.db.query(part, &[view.room.nid.into(), after.into(), (BATCH as i64).into()]);
            let found: Vec<(i64, i64)> = rows.map(|row| (row.get("event_nid"), row.get("cursor"))).collect();
            if let Some((_, last)) = found.last() {
                self.after = Some(*last);
                return found.into_iter().map(|(nid, _)| nid).collect();
            }
            *self = Self { part: self.part + 1, after: None };
        }
        Vec::new()
    }
}
