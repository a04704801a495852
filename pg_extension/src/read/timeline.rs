//! Reads parts of rooms' timelines.

use std::{collections::HashMap, rc::Rc};

use matriarch_rules::sync_token::SyncToken;

use crate::{
    base::spi::{Db, Rows},
    read::stored_event::{Events, StoredEvent},
};

/// The direction of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Backward,
    Forward,
}

/// Windows of rooms' timelines, shared by all readers of a call.
#[derive(Default)]
pub struct Windows {
    windows: HashMap<WindowEnd, Window>,
}

/// The end of a window: a room, and the position of the newest event to read.
pub type WindowEnd = (i64, i64);

/// The newest events of a room up to an end, as far as they were read.
#[derive(Default)]
pub struct Window {
    /// Newest first.
    pub events: Vec<Rc<StoredEvent>>,
    /// Whether there are no older events.
    pub complete: bool,
}

const NEWEST: &str = "
    select e.event_nid, e.pos, e.origin_server_ts, e.state_before, e.redacted_by, e.device_nid, e.xid,
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, e.withheld, w.number
    from unnest($1::bigint[], $2::bigint[], $3::integer[]) with ordinality w (room_nid, upto, count, number)
    cross join lateral (
        select *
        from events
        where room_nid = w.room_nid and pos <= w.upto
        order by pos desc
        limit w.count
    ) e
    order by w.number, e.pos desc";

impl Windows {
    /// The window with this end; `None` if nothing of it was read.
    pub fn get(&self, end: WindowEnd) -> Option<&Window> {
        self.windows.get(&end)
    }

    /// Reads older events, in one query, until each window has the wanted number of events or is complete.
    pub fn lengthen(&mut self, db: &Db<'_>, events: &Events<'_, '_>, wanted: &HashMap<WindowEnd, usize>) {
        let mut ends = Vec::new();
        let (mut rooms, mut uptos, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (&end, &length) in wanted {
            let window = self.windows.entry(end).or_default();
            let missing = length.saturating_sub(window.events.len());
            if window.complete || missing == 0 {
                continue;
            }
            let oldest = window.events.last().and_then(|event| event.pos);
            ends.push((end, missing));
            rooms.push(end.0);
            uptos.push(oldest.map_or(end.1, |pos| pos - 1));
            counts.push(i32::try_from(missing).unwrap_or(i32::MAX));
        }
        if ends.is_empty() {
            return;
        }
        let mut found: Vec<Vec<Rc<StoredEvent>>> = ends.iter().map(|_| Vec::new()).collect();
        for row in db.query(NEWEST, &[rooms.into(), uptos.into(), counts.into()]) {
            let number: i64 = row.get("number");
            found[number as usize - 1].push(events.keep(StoredEvent::read(&row)));
        }
        for ((end, missing), found) in ends.into_iter().zip(found) {
            let window = self.windows.entry(end).or_default();
            window.complete = found.len() < missing;
            window.events.extend(found);
        }
    }
}

const BACKWARD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root, withheld
    from events
    where room_nid = $1 and pos <= $2 and pos > $3
    order by pos desc
    limit $4";

const FORWARD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root, withheld
    from events
    where room_nid = $1 and pos > $2 and pos <= $3
    order by pos
    limit $4";

/// Up to `count` events from the position `from` to the position `to`, in the order of the direction.
/// Positions stand after the event with that `pos`, as pagination tokens do.
pub fn read(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room_nid: i64,
    direction: Direction,
    (from, to): (i64, i64),
    count: usize,
) -> Vec<Rc<StoredEvent>> {
    let sql = match direction {
        Direction::Backward => BACKWARD,
        Direction::Forward => FORWARD,
    };
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    keep(events, db.query(sql, &[room_nid.into(), from.into(), to.into(), count.into()]))
}

fn keep(events: &Events<'_, '_>, rows: Rows<'_>) -> Vec<Rc<StoredEvent>> {
    rows.map(|row| events.keep(StoredEvent::read(&row))).collect()
}

/// Writes to a room are serialized, so the events that a token sees are those up to some position.
const NEWEST_SEEN: &str = "
    select e.event_nid, e.pos, e.origin_server_ts, e.state_before, e.redacted_by, e.device_nid, e.xid,
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, e.withheld, w.number
    from (
        select room_nid, token::pg_snapshot as token, number
        from unnest($1::bigint[], $2::text[]) with ordinality p (room_nid, token, number)
        offset 0
    ) w
    cross join lateral (
        select *
        from events
        where room_nid = w.room_nid and pos is not null and pg_visible_in_snapshot(xid, w.token)
        order by pos desc
        limit 1
    ) e";

/// For each pair of a room and a token, the newest event that the token sees, if any. Runs one query.
pub fn newest_seen(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    wanted: &[(i64, &SyncToken)],
) -> Vec<Option<Rc<StoredEvent>>> {
    let mut found = vec![None; wanted.len()];
    if wanted.is_empty() {
        return found;
    }
    let rooms: Vec<i64> = wanted.iter().map(|(room_nid, _)| *room_nid).collect();
    let tokens: Vec<String> = wanted.iter().map(|(_, token)| token.snapshot()).collect();
    for row in db.query(NEWEST_SEEN, &[rooms.into(), tokens.into()]) {
        let number: i64 = row.get("number");
        found[number as usize - 1] = Some(events.keep(StoredEvent::read(&row)));
    }
    found
}
