//! The state in a room's section: the whole state, or the changes since the token.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use matriarch_rules::filter::Subject;

use super::section::Section;
use crate::{
    base::spi::Db,
    read::{
        state_list,
        stored_event::{Events, StoredEvent},
        timeline,
    },
    room::state_at::StateAt,
};

/// Which part of a room's state the client gets.
enum Wanted {
    Nothing,
    All(StateAt),
    Changes { since: StateAt, to: StateAt },
}

/// The current state of a room, as far as it was read: `key_idx`s and their events.
#[derive(Default)]
struct Current {
    /// All state keys except those of members.
    others: HashMap<i32, Option<i64>>,
    /// State keys of members, if they were read.
    members: HashMap<i32, Option<i64>>,
}

const OTHERS: &str = "
    select room_nid, key_idx, current_event_nid
    from room_state_keys
    where room_nid = any($1) and type < 'm.room.member'
    union all
    select room_nid, key_idx, current_event_nid
    from room_state_keys
    where room_nid = any($1) and type > 'm.room.member'";

const MEMBERS: &str = "
    select room_nid, key_idx, current_event_nid
    from room_state_keys
    where room_nid = any($1) and type = 'm.room.member'";

/// Finds the state of each section.
pub fn find_state(db: &Db<'_>, events: &Events<'_, '_>, sections: &mut [Section<'_>]) {
    let wanted = wanted_of_all(db, events, sections);
    let current = read_current(db, sections, &wanted);
    let member_keys = member_keys(db, sections, &wanted);

    let mut found: Vec<BTreeMap<i32, i64>> = Vec::new();
    for ((section, wanted), member_keys) in sections.iter().zip(&wanted).zip(&member_keys) {
        let current = current.get(&section.part.room.room_nid);
        let mut state = match (wanted, current) {
            (Wanted::All(at), Some(current)) => all(db, section, *at, current),
            (Wanted::Changes { since, to }, _) => {
                since.changes_to(db, *to).into_iter().filter_map(|(key, nid)| Some((key, nid?))).collect()
            }
            _ => BTreeMap::new(),
        };
        if let Some(at) = start_of(section) {
            for &key in member_keys {
                // In a partial room, a member may be known only since it sent an event.
                let later = || section.end().filter(|_| section.part.room.partial)?.get(db, key);
                state.extend(at.get(db, key).or_else(later).map(|nid| (key, nid)));
            }
        }
        if !section.asker.use_state_after {
            state.extend(undelivered(db, section));
            state.extend(resolved(db, section, wanted));
        }
        found.push(state);
    }
    events.load(found.iter().flat_map(|state| state.values().copied()));
    for (section, state) in sections.iter_mut().zip(found) {
        section.state = admitted(events, section, state);
    }
}

/// The state that is listed: the state at the start of the timeline, or with `use_state_after` at its
/// end. A user who left does not get later state, although a later ban may be in the timeline.
fn start_of(section: &Section<'_>) -> Option<StateAt> {
    match section.timeline.delivered.first() {
        Some(first) if !section.asker.use_state_after && section.reader.was_there(first) => first.before(),
        _ => section.end(),
    }
}

fn wanted_of_all(db: &Db<'_>, events: &Events<'_, '_>, sections: &[Section<'_>]) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut gaps = Vec::new();
    for section in sections {
        let shown = section.end().is_some() && !section.is_over();
        let Some(to) = start_of(section).filter(|_| shown) else {
            wanted.push(Wanted::Nothing);
            continue;
        };
        if section.is_full() {
            wanted.push(Wanted::All(to));
            continue;
        }
        let changed = section.timeline.hidden.iter().any(|event| event.key_idx.is_some())
            || (section.asker.use_state_after
                && section.timeline.delivered.iter().any(|event| event.key_idx.is_some()));
        if !section.timeline.limited && !changed {
            wanted.push(Wanted::Nothing);
            continue;
        }
        let since = section.timeline.known.as_ref().map(|known| known.after());
        if since.is_none()
            && let Some(token) = section.since
        {
            gaps.push((wanted.len(), (section.part.room.room_nid, token)));
        }
        let since = since.flatten().unwrap_or(StateAt::EMPTY);
        wanted.push(Wanted::Changes { since, to });
    }
    let places: Vec<_> = gaps.iter().map(|(_, place)| *place).collect();
    for ((index, _), known) in gaps.iter().zip(timeline::newest_seen(db, events, &places)) {
        if let Wanted::Changes { since, .. } = &mut wanted[*index] {
            *since = known.and_then(|known| known.after()).unwrap_or(StateAt::EMPTY);
        }
    }
    wanted
}

fn is_lazy(section: &Section<'_>) -> bool {
    section.asker.loads_members_lazily()
}

fn read_current(db: &Db<'_>, sections: &[Section<'_>], wanted: &[Wanted]) -> HashMap<i64, Current> {
    let full: Vec<&Section<'_>> = sections
        .iter()
        .zip(wanted)
        .filter(|(_, wanted)| matches!(wanted, Wanted::All(_)))
        .map(|(section, _)| section)
        .collect();
    let mut current: HashMap<i64, Current> =
        full.iter().map(|section| (section.part.room.room_nid, Current::default())).collect();
    let rooms: Vec<i64> = current.keys().copied().collect();
    let eager: HashSet<i64> =
        full.iter().filter(|section| !is_lazy(section)).map(|section| section.part.room.room_nid).collect();
    for (sql, rooms) in [(OTHERS, rooms), (MEMBERS, eager.into_iter().collect())] {
        if rooms.is_empty() {
            continue;
        }
        for row in db.query(sql, &[rooms.into()]) {
            let current = current.entry(row.get("room_nid")).or_default();
            let keys = if sql == OTHERS { &mut current.others } else { &mut current.members };
            keys.insert(row.get("key_idx"), row.opt("current_event_nid"));
        }
    }
    current
}

/// A whole state: the current one, changed back to the state at `at`. Without members, if the client
/// lazy-loads them.
fn all(db: &Db<'_>, section: &Section<'_>, at: StateAt, current: &Current) -> BTreeMap<i32, i64> {
    let lazy = is_lazy(section);
    let mut state = current.others.clone();
    if !lazy {
        state.extend(&current.members);
    }
    for (key, nid) in StateAt::root(section.part.room.current_root).changes_to(db, at) {
        if !lazy || current.others.contains_key(&key) {
            state.insert(key, nid);
        }
    }
    state.into_iter().filter_map(|(key, nid)| Some((key, nid?))).collect()
}

/// The `key_idx`s of members that are sent despite lazy-loading: senders in the timeline, heroes, and the
/// asker's user.
fn member_keys(db: &Db<'_>, sections: &[Section<'_>], wanted: &[Wanted]) -> Vec<Vec<i32>> {
    let mut keys = vec![Vec::new(); sections.len()];
    let (mut owners, mut rooms, mut users) = (Vec::new(), Vec::new(), Vec::new());
    for (index, section) in sections.iter().enumerate() {
        if !is_lazy(section) || section.end().is_none() {
            continue;
        }
        let mut members: HashSet<&str> =
            section.timeline.delivered.iter().map(|event| event.sender.as_str()).collect();
        members.extend(section.heroes.iter().map(String::as_str));
        if matches!(wanted[index], Wanted::All(_)) {
            members.insert(&section.reader.user_id);
        }
        for member in members {
            owners.push(index);
            rooms.push(section.part.room.room_nid);
            users.push(member.to_owned());
        }
    }
    for (index, key) in state_list::member_keys(db, rooms, users) {
        keys[owners[index]].push(key);
    }
    keys
}

/// New state events that were not delivered in the timeline but are in the state at its end.
fn undelivered(db: &Db<'_>, section: &Section<'_>) -> Vec<(i32, i64)> {
    let Some(end) = section.end() else { return Vec::new() };
    section
        .timeline
        .hidden
        .iter()
        .filter_map(|event| Some((event.key_idx?, event.event_nid)))
        .filter(|(key, nid)| end.get(db, *key) == Some(*nid))
        .collect()
}

/// State changes that no event of the timeline shows: branches were joined, and state resolution chose other
/// events.
fn resolved(db: &Db<'_>, section: &Section<'_>, wanted: &Wanted) -> Vec<(i32, i64)> {
    if section.timeline.window().all(|event| event.room_root.is_none()) {
        return Vec::new();
    }
    let start = match wanted {
        Wanted::Nothing => section.timeline.known.as_ref().and_then(|known| known.after()),
        _ => start_of(section),
    };
    let (Some(start), Some(end)) = (start, section.end()) else { return Vec::new() };
    let brought: HashSet<i32> = section.timeline.delivered.iter().filter_map(|event| event.key_idx).collect();
    start
        .changes_to(db, end)
        .into_iter()
        .filter(|(key, _)| !brought.contains(key))
        .filter_map(|(key, nid)| Some((key, nid?)))
        .collect()
}

fn admitted(
    events: &Events<'_, '_>,
    section: &Section<'_>,
    state: BTreeMap<i32, i64>,
) -> Vec<Rc<StoredEvent>> {
    let filter = &section.asker.filter.room.state;
    if !filter.admits_room(&section.part.room.room_id) {
        return Vec::new();
    }
    state
        .into_values()
        .map(|nid| events.get(nid))
        .filter(|event| {
            let sender = Some(event.sender.as_str());
            filter.admits(Subject { event_type: &event.event_type, sender, content: event.content() })
        })
        .collect()
}
