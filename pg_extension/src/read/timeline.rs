//! Stretches of rooms' timelines.

use std::{collections::HashMap, rc::Rc};

use crate::{
    base::{
        spi::{Db, Rows},
        token::SyncToken,
    },
    read::stored_event::{Events, StoredEvent},
};

/// Which way to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Backward,
    Forward,
}

/// Windows onto the newest events of rooms, shared by everybody who reads a room in a call.
#[derive(Default)]
pub struct Windows {
    windows: HashMap<Place, Window>,
}

/// A room, and the `pos` of the newest event to read there.
pub type Place = (i64, i64);

/// The newest events up to a place.
#[derive(Default)]
pub struct Window {
    /// Newest first.
    pub events: Vec<Rc<StoredEvent>>,
    /// Whether there is nothing older.
    pub complete: bool,
}

const NEWEST: &str = "
    select e.event_nid, e.pos, e.origin_server_ts, e.state_before, e.redacted_by, e.device_nid, e.xid,
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, w.number
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
    /// The window that ends at a place; as far as it was read.
    pub fn get(&self, place: Place) -> Option<&Window> {
        self.windows.get(&place)
    }

    /// Makes windows at least so long, where there are so many events. One query for all.
    pub fn lengthen(&mut self, db: &Db<'_>, events: &Events<'_, '_>, wanted: &HashMap<Place, usize>) {
        let mut places = Vec::new();
        let (mut rooms, mut uptos, mut counts) = (Vec::new(), Vec::new(), Vec::new());
        for (&place, &length) in wanted {
            let window = self.windows.entry(place).or_default();
            let missing = length.saturating_sub(window.events.len());
            if window.complete || missing == 0 {
                continue;
            }
            let oldest = window.events.last().and_then(|event| event.pos);
            places.push((place, missing));
            rooms.push(place.0);
            uptos.push(oldest.map_or(place.1, |pos| pos - 1));
            counts.push(i32::try_from(missing).unwrap_or(i32::MAX));
        }
        if places.is_empty() {
            return;
        }
        let mut found: Vec<Vec<Rc<StoredEvent>>> = places.iter().map(|_| Vec::new()).collect();
        for row in db.query(NEWEST, &[rooms.into(), uptos.into(), counts.into()]) {
            let number: i64 = row.get("number");
            found[number as usize - 1].push(events.keep(StoredEvent::read(&row)));
        }
        for ((place, missing), found) in places.into_iter().zip(found) {
            let window = self.windows.entry(place).or_default();
            window.complete = found.len() < missing;
            window.events.extend(found);
        }
    }
}

const BACKWARD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root
    from events
    where room_nid = $1 and pos <= $2 and pos > $3
    order by pos desc
    limit $4";

const FORWARD: &str = "
    select event_nid, pos, origin_server_ts, state_before, redacted_by, device_nid, xid, key_idx,
        event_id, type, txn_id, json, room_root
    from events
    where room_nid = $1 and pos > $2 and pos <= $3
    order by pos
    limit $4";

/// The next `count` events from a place on, in the order of reading, as far as `to`.
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

/// Appends to a room are serialized, so what a token sees is all that is older than some place.
const NEWEST_SEEN: &str = "
    select e.event_nid, e.pos, e.origin_server_ts, e.state_before, e.redacted_by, e.device_nid, e.xid,
        e.key_idx, e.event_id, e.type, e.txn_id, e.json, e.room_root, w.number
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

/// The newest event of each room that its token sees, if any. One query for all.
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
