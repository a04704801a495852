//! Pages of a room's history: the events that the reader may see and the filter admits.

use std::rc::Rc;

use matriarch_rules::filter::{RoomEventFilter, Subject};
use pgrx::check_for_interrupts;

use crate::{
    base::spi::Db,
    read::{
        gaps::{Gap, Gaps},
        readable_room::ReadableRoom,
        stored_event::{Events, StoredEvent},
        timeline::{self, Direction},
        visibility,
    },
};

/// The greatest number of events that are read for one page. A page may then be short or empty; the client
/// continues from its end.
const MAX_SCAN: usize = 5000;

/// The page to read.
pub struct Request<'f> {
    pub direction: Direction,
    /// The position to begin at.
    pub from: i64,
    /// The position to stop at; `None` for the end of what the reader may see.
    pub to: Option<i64>,
    /// The greatest number of events in the page.
    pub limit: usize,
    pub filter: &'f RoomEventFilter,
    /// Whether the page ends at a gap whose events other servers can be asked for.
    pub stops_at_gaps: bool,
}

/// A page.
pub struct Page {
    /// In the order of the direction.
    pub events: Vec<Rc<StoredEvent>>,
    /// The position from which to continue; `None` at the end.
    pub next: Option<i64>,
    /// The id of the event after the gap at which the page ends, if it has fewer events than the limit.
    pub gap: Option<String>,
}

/// Reads a page.
pub fn read(db: &Db<'_>, events: &Events<'_, '_>, room: &ReadableRoom, request: &Request<'_>) -> Page {
    let mut page = select(db, events, room, request);
    room.redact_erased(db, events, &mut page.events);
    page
}

fn select(db: &Db<'_>, events: &Events<'_, '_>, room: &ReadableRoom, request: &Request<'_>) -> Page {
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
        let mut ends_at_unavailable = false;
        for event in &chunk {
            check_for_interrupts!();
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
            ends_at_unavailable = !forward && gap == Some(Gap::Unavailable);
        }
        if chunk.len() < count {
            // The events missing at the end may be available later.
            page.next = (ends_at_unavailable && !page.events.is_empty()).then_some(from);
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

/// The event after the position to begin at, if there is an open gap before it.
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
    let range = (from, room.upto());
    let next = timeline::read(db, events, room.room_nid, Direction::Forward, range, 1);
    let gaps = Gaps::find(db, events, room, &next);
    let event = next.first().filter(|event| gaps.before(event) == Some(Gap::Open))?;
    Some(event.event_id.clone())
}

fn is_wanted(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room: &ReadableRoom,
    filter: &RoomEventFilter,
    event: &StoredEvent,
) -> bool {
    let sender = Some(event.sender.as_str());
    filter.admits_room(&room.room_id)
        && filter.admits(Subject { event_type: &event.event_type, sender, content: event.content() })
        && room.reader.sees(db, events, event)
}
