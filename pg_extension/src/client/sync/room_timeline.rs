//! Selects the events of a room's timeline that an answer contains.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use matriarch_rules::filter::Subject;
use pgrx::check_for_interrupts;

use super::section::Section;
use crate::{
    base::spi::Db,
    read::{
        gaps,
        stored_event::{Events, StoredEvent},
        timeline::{Window, WindowEnd, Windows},
        visibility,
    },
};

/// The greatest number of a room's events that are read to find those that the asker may see and the filter
/// admits.
const MAX_SCAN: usize = 2000;
/// How many events of a room are read first, and of all rooms of an asker.
const FIRST_READ: usize = 32;
const FIRST_READ_OF_ALL: usize = 16_000;
/// The bytes of an asker's events after which no room's timeline gets older ones.
const MAX_BYTES: usize = 32 << 20;

/// A room's timeline in an answer, selected from a window.
#[derive(Default)]
pub struct RoomTimeline {
    /// Oldest first.
    pub delivered: Vec<Rc<StoredEvent>>,
    /// New events that the filter leaves out or the asker may not see, newest first.
    pub hidden: Vec<Rc<StoredEvent>>,
    /// Whether older new events were left out.
    pub limited: bool,
    /// The position before the oldest delivered event.
    pub before: i64,
    /// The newest event that the token sees, if the window reaches back to it.
    pub known: Option<Rc<StoredEvent>>,
}

impl RoomTimeline {
    /// All new events that were read, delivered or not.
    pub fn window(&self) -> impl Iterator<Item = &Rc<StoredEvent>> {
        self.delivered.iter().chain(&self.hidden)
    }
}

/// Selects the timelines of all sections. Reads in a few rounds, with one query each.
pub fn read_all(db: &Db<'_>, events: &Events<'_, '_>, sections: &mut [Section<'_>]) {
    let mut windows = Windows::default();
    let mut wanted: HashMap<WindowEnd, usize> = HashMap::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rooms: HashMap<usize, usize> = HashMap::new();
    for section in &*sections {
        *rooms.entry(section.index).or_default() += 1;
    }
    for (index, section) in sections.iter_mut().enumerate() {
        section.timeline.before = end_of(events, section);
        let filter = &section.asker.filter.room.timeline;
        let has_none = match section.since {
            Some(_) => !section.part.room_new,
            None => filter.admits_nothing() || !filter.admits_room(&section.part.room.room_id),
        };
        if has_none {
            continue;
        }
        let whole = filter.limit() + 1;
        // Usually few events are new, or wanted.
        let first = whole.min(FIRST_READ).min(FIRST_READ_OF_ALL / rooms[&section.index]).max(1);
        want(&mut wanted, window_end(events, section), first);
        open.push(index);
    }
    while !open.is_empty() {
        windows.lengthen(db, events, &wanted);
        wanted.clear();
        let lacking = lacking(db, events, sections, &open, &windows);
        let jobs: Vec<_> = open
            .iter()
            .filter_map(|&index| {
                let section = &sections[index];
                let window = windows.get(window_end(events, section))?;
                Some((&section.reader, new_to(section, window)))
            })
            .collect();
        visibility::prepare(db, events, &jobs);
        let bytes = bytes_read(events, sections, &open, &windows);
        open.retain(|&index| {
            let section = &sections[index];
            let end = window_end(events, section);
            let Some(window) = windows.get(end) else { return false };
            let is_last = bytes.get(&section.index).is_some_and(|bytes| *bytes > MAX_BYTES);
            match select(db, events, section, window, &lacking, is_last) {
                Some(timeline) => {
                    sections[index].timeline = timeline;
                    false
                }
                None => {
                    want(&mut wanted, end, (window.events.len() * 4).max(FIRST_READ));
                    true
                }
            }
        });
    }
}

/// Those of the new events that have a gap before them.
fn lacking(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    sections: &[Section<'_>],
    open: &[usize],
    windows: &Windows,
) -> HashSet<i64> {
    let with_gaps = open.iter().map(|&index| &sections[index]).filter(|section| section.part.room.has_gaps);
    let new: HashSet<i64> = with_gaps
        .filter_map(|section| Some(new_to(section, windows.get(window_end(events, section))?)))
        .flatten()
        .map(|event| event.event_nid)
        .collect();
    gaps::lacking(db, new.into_iter().collect())
}

/// The bytes of the windows of each asker whose timelines are not selected yet.
fn bytes_read(
    events: &Events<'_, '_>,
    sections: &[Section<'_>],
    open: &[usize],
    windows: &Windows,
) -> HashMap<usize, usize> {
    let mut bytes: HashMap<usize, usize> = HashMap::new();
    for section in open.iter().map(|&index| &sections[index]) {
        let window = windows.get(window_end(events, section)).map_or(&[][..], |window| &window.events);
        *bytes.entry(section.index).or_default() +=
            window.iter().map(|event| event.json.len()).sum::<usize>();
    }
    bytes
}

fn want(wanted: &mut HashMap<WindowEnd, usize>, end: WindowEnd, length: usize) {
    let entry = wanted.entry(end).or_default();
    *entry = length.max(*entry);
}

/// The position at which the timeline ends for the asker: that of the newest event, or of the event by which
/// the user left.
fn end_of(events: &Events<'_, '_>, section: &Section<'_>) -> i64 {
    if section.part.is_left() {
        events.get(section.part.member_event_nid).pos.unwrap_or(section.part.room.last_pos)
    } else {
        section.part.room.last_pos
    }
}

fn window_end(events: &Events<'_, '_>, section: &Section<'_>) -> WindowEnd {
    (section.part.room.room_nid, end_of(events, section))
}

/// The events of a window that the token does not see.
fn new_to<'w>(section: &Section<'_>, window: &'w Window) -> &'w [Rc<StoredEvent>] {
    let known = |event: &Rc<StoredEvent>| section.since.is_some_and(|since| since.sees(event.xid.0));
    let length = window.events.iter().position(known).unwrap_or(window.events.len());
    &window.events[..length]
}

/// Selects the timeline of a section from a window; `None` if the window must be longer for that, and is not
/// the last.
fn select(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    section: &Section<'_>,
    window: &Window,
    lacking: &HashSet<i64>,
    is_last: bool,
) -> Option<RoomTimeline> {
    let limit = section.asker.filter.room.timeline.limit();
    let new = new_to(section, window);
    let mut timeline = RoomTimeline { before: end_of(events, section), ..RoomTimeline::default() };
    for event in new {
        check_for_interrupts!();
        if !is_wanted(db, events, section, event) {
            timeline.hidden.push(Rc::clone(event));
        } else if timeline.delivered.len() == limit {
            timeline.limited = true;
            break;
        } else {
            timeline.before = event.pos.unwrap_or(timeline.before) - 1;
            timeline.delivered.push(Rc::clone(event));
        }
        // The client gets the missing events when it pages back.
        if lacking.contains(&event.event_nid) {
            timeline.limited = true;
            timeline.before = event.pos.unwrap_or(timeline.before) - 1;
            break;
        }
    }
    if !timeline.limited {
        timeline.known = window.events.get(new.len()).map(Rc::clone);
        if timeline.known.is_none() && !window.complete {
            if new.len() < MAX_SCAN && !is_last {
                return None;
            }
            timeline.limited = true;
            timeline.before = new.last().and_then(|event| event.pos).map_or(timeline.before, |pos| pos - 1);
        }
    }
    timeline.delivered.reverse();
    Some(timeline)
}

fn is_wanted(db: &Db<'_>, events: &Events<'_, '_>, section: &Section<'_>, event: &StoredEvent) -> bool {
    let filter = &section.asker.filter.room.timeline;
    let subject =
        Subject { event_type: &event.event_type, sender: Some(&event.sender), content: event.content() };
    // The event by which the user left is always delivered.
    let own_leave = section.part.is_left() && event.event_nid == section.part.member_event_nid;
    filter.admits_room(&section.part.room.room_id)
        && filter.admits(subject)
        && (own_leave || (!section.part.forgotten && section.reader.sees(db, events, event)))
}
