//! Pages of a room's history: what the reader sees and the filter admits.

use std::rc::Rc;

use crate::{
    base::spi::Db,
    read::{
        filter::{EventFilter, Subject},
        gaps::{Gap, Gaps},
        readable_room::ReadableRoom,
        stored_event::{Events, StoredEvent},
        timeline::{self, Direction},
        visibility,
    },
};

/// The most events that are looked at for one page. The client goes on from there, as an empty page is not the end.
const MAX_SCAN: usize = 5000;

/// What to read.
pub struct Request<'f> {
    pub direction: Direction,
    /// The place to begin at.
    pub from: i64,
    /// The place to stop at, if before the end of what the reader may see.
    pub to: Option<i64>,
    pub limit: usize,
    pub filter: &'f EventFilter,
    /// Whether the page ends where events are missing that other servers may be asked for.
    pub stops_at_gaps: bool,
}

/// A page.
pub struct Page {
    /// In the order of reading.
    pub events: Vec<Rc<StoredEvent>>,
    /// The place to go on from; `None` at the end.
    pub next: Option<i64>,
    /// The event before which events are missing that belong into the page.
    pub gap: Option<String>,
}

/// Reads a page.
pub fn read(db: &Db<'_>, events: &Events<'_, '_>, room: &ReadableRoom, request: &Request<'_>) -> Page {
    let forward = request.direction == Direction::Forward;
    let to = if forward {
        request.to.unwrap_or(i64::MAX).min(room.upto())
    } else {
        request.to.unwrap_or(i64::MIN)
    };
    let mut page = Page { events: Vec::new(), next: None, gap: None };
    let mut from = request.from;
    let mut scanned = 0;
    let mut count = request.limit + 1;
    if let Some(event_id) = gap_at_start(db, events, room, request) {
        return Page { next: Some(from), gap: Some(event_id), ..page };
    }
    loop {
        let chunk = timeline::read(db, events, room.room_nid, request.direction, (from, to), count);
        visibility::prepare(db, events, &[(&room.reader, &chunk)]);
        let gaps = Gaps::find(db, events, room, &chunk);
        let mut passed = false;
        for event in &chunk {
            let pos = event.pos.unwrap_or(from);
            let before = if forward { pos - 1 } else { pos };
            let gap = gaps.before(event);
            let is_open = request.stops_at_gaps && gap == Some(Gap::Open);
            if forward && is_open && from < pos - 1 {
                page.next = Some(from);
                page.gap = (page.events.len() < request.limit).then(|| event.event_id.clone());
                return page;
            }
            if is_wanted(db, events, room, request.filter, event) {
                if page.events.len() == request.limit {
                    page.next = Some(before);
                    return page;
                }
                page.events.push(Rc::clone(event));
            }
            from = if forward { pos } else { pos - 1 };
            if !forward && is_open && from > to {
                page.next = Some(from);
                page.gap = (page.events.len() < request.limit).then(|| event.event_id.clone());
                return page;
            }
            passed = !forward && gap == Some(Gap::Passed);
        }
        if chunk.len() < count {
            // What is missing at the end may be there another time.
            page.next = (passed && !page.events.is_empty()).then_some(from);
            return page;
        }
        scanned += chunk.len();
        if scanned >= MAX_SCAN {
            page.next = Some(from);
            return page;
        }
        count = (count * 4).clamp(32, MAX_SCAN - scanned + 1);
    }
}

/// The event before which the place to begin at is, if something is missing there.
fn gap_at_start(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room: &ReadableRoom,
    request: &Request<'_>,
) -> Option<String> {
    let Request { direction, from, to, limit, .. } = *request;
    let is_asked = request.stops_at_gaps && room.has_gaps && direction == Direction::Backward && limit > 0;
    if !is_asked || from >= room.upto() || to.is_some_and(|to| to >= from) {
        return None;
    }
    let place = (from, room.upto());
    let next = timeline::read(db, events, room.room_nid, Direction::Forward, place, 1);
    let gaps = Gaps::find(db, events, room, &next);
    let event = next.first().filter(|event| gaps.before(event) == Some(Gap::Open))?;
    Some(event.event_id.clone())
}

fn is_wanted(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room: &ReadableRoom,
    filter: &EventFilter,
    event: &StoredEvent,
) -> bool {
    let sender = Some(event.sender.as_str());
    filter.admits_room(&room.room_id)
        && filter.admits(Subject { event_type: &event.event_type, sender, content: event.content() })
        && room.reader.sees(db, events, event)
}
