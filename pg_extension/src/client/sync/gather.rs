//! Collects what goes into the answers, step by step, each for all askers at once.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use super::{
    Asker,
    account_data::{self, Datum, GLOBAL},
    cut::{self, Ignored},
    ephemeral::{self, Ephemeral, Receipt},
    outside::{self, Outside},
    parts::{self, Columns, Part, Parts},
    probe::{self, Found},
    room_state,
    section::Section,
    summary,
    unread::{self, Unread},
};
use crate::{
    base::{spi::Db, token::SyncToken},
    client::end_to_end_encryption::device_lists::{self, DeviceLists, Interval},
    read::stored_event::{Events, StoredEvent},
};

/// What there is to tell, before the sections are made of it.
pub struct News {
    /// By asker.
    pub found: Vec<Found>,
    pub parts: Parts,
    /// By asker.
    outside: BTreeMap<usize, Vec<Outside>>,
    ephemeral: Ephemeral,
    /// By asker and room.
    data: BTreeMap<(usize, i64), Vec<Datum>>,
    ignored: Ignored,
    /// By asker; empty for those who ask for everything.
    pub device_lists: Vec<DeviceLists>,
}

/// Finds out which rooms have news for whom.
pub fn news(db: &Db<'_>, askers: &[&Asker], columns: &Columns, now: &SyncToken) -> News {
    let found = probe::find(db, askers, columns);
    let mut parts = parts::changed(db, columns, &found);
    let device_lists = device_lists(db, askers, &found, &parts, now);
    let ephemeral = ephemeral::changed(db, columns, &found);
    let data = match found.iter().any(|found| found.account_data) {
        true => account_data::changed(db, columns),
        false => BTreeMap::new(),
    };
    let places = ephemeral.receipts.keys().chain(&ephemeral.typing).chain(data.keys());
    parts::add(db, columns, &mut parts, places.copied().filter(|(_, room_nid)| *room_nid != GLOBAL));
    let mut outside = match found.iter().any(|found| found.outside) {
        true => outside::changed(db, columns),
        false => BTreeMap::new(),
    };
    let ignored = match parts.is_empty() && outside.is_empty() {
        true => Ignored::new(),
        false => account_data::ignored(db, columns.users.clone()),
    };
    let is_wanted = |asker: usize, room_id: &str, membership: &str, sender: &String| {
        let asker = askers[asker];
        let ignored = ignored.get(&asker.session.user_nid);
        let by_ignored = membership == "invite" && ignored.is_some_and(|users| users.contains(sender));
        asker.filter.room.admits_room(room_id) && !by_ignored
    };
    parts.retain(|(asker, _), part| {
        // Who asks for all members waits for them.
        let is_whole = !part.room.partial || !part.is_joined() || askers[*asker].loads_members_lazily();
        is_whole && is_wanted(*asker, &part.room.room_id, &part.membership, &part.member_sender)
    });
    for (asker, rooms) in &mut outside {
        rooms.retain(|room| is_wanted(*asker, &room.room_id, &room.membership, &room.sender));
    }
    News { found, parts, outside, ephemeral, data, ignored, device_lists }
}

fn device_lists(
    db: &Db<'_>,
    askers: &[&Asker],
    found: &[Found],
    parts: &Parts,
    now: &SyncToken,
) -> Vec<DeviceLists> {
    let mut lists = vec![DeviceLists::default(); askers.len()];
    let (owners, intervals): (Vec<usize>, Vec<Interval<'_>>) = askers
        .iter()
        .enumerate()
        .filter_map(|(index, asker)| {
            let from = asker.since.as_ref()?;
            let Found { key_changes, own_changes, .. } = found[index];
            let user_nid = asker.session.user_nid;
            Some((index, Interval { user_nid, from, to: now, key_changes, own_changes }))
        })
        .unzip();
    let with_news = parts.iter().filter(|(_, part)| part.room_new && part.is_joined());
    let news: BTreeSet<(usize, i64)> = with_news
        .filter_map(|((asker, room_nid), _)| Some((owners.binary_search(asker).ok()?, *room_nid)))
        .collect();
    for (owner, found) in owners.iter().zip(device_lists::between(db, &intervals, &news)) {
        lists[*owner] = found;
    }
    lists
}

impl News {
    /// New account data that belongs to no room.
    pub fn global_data(&self, asker: usize) -> &[Datum] {
        self.data.get(&(asker, GLOBAL)).map_or(&[], Vec::as_slice)
    }

    /// Rooms that no user of this server is in.
    pub fn outside(&self, asker: usize) -> &[Outside] {
        self.outside.get(&asker).map_or(&[], Vec::as_slice)
    }

    /// The parts that have a timeline, with their askers.
    fn with_timeline(&self) -> impl Iterator<Item = (usize, &Part)> {
        self.parts
            .iter()
            .filter(|(_, part)| part.is_joined() || part.is_left())
            .map(|((asker, _), part)| (*asker, part))
    }
}

/// A section, and what goes into it beside the timeline.
pub struct Filled<'a> {
    pub asker: usize,
    pub section: Section<'a>,
    pub state: Vec<Rc<StoredEvent>>,
    pub heroes: Vec<String>,
    pub unread: Unread,
    pub receipts: Vec<Receipt>,
    /// Who types, where that is to be told.
    pub typing: Option<Vec<String>>,
    pub account_data: Vec<Datum>,
}

/// Makes the sections of joined and left rooms.
pub fn sections<'a>(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    askers: &[&'a Asker],
    news: &'a News,
) -> Vec<Filled<'a>> {
    let (owners, parts): (Vec<usize>, Vec<_>) =
        news.with_timeline().map(|(asker, part)| (asker, (askers[asker], part))).unzip();
    if parts.is_empty() {
        return Vec::new();
    }
    let mut sections = Section::open_all(db, events, &parts);
    cut::cut_all(db, events, &mut sections, &news.ignored);
    let heroes = summary::heroes_of_all(db, events, &sections);
    let state = room_state::state_of_all(db, events, &sections, &heroes);
    let unread = unread::count_all(db, &sections);

    let filled = owners.into_iter().zip(sections).zip(heroes).zip(state).zip(unread);
    let mut filled: Vec<Filled<'a>> = filled
        .map(|((((asker, section), heroes), state), unread)| Filled {
            asker,
            section,
            state,
            heroes,
            unread,
            receipts: Vec::new(),
            typing: None,
            account_data: Vec::new(),
        })
        .collect();
    add_ephemeral(db, &mut filled, news);
    add_account_data(db, &mut filled, news);
    filled
}

fn add_ephemeral(db: &Db<'_>, filled: &mut [Filled<'_>], news: &News) {
    let room = |filled: &Filled<'_>| filled.section.part.room.room_nid;
    let is_new = |filled: &Filled<'_>| filled.section.since.is_none();
    let joined = || filled.iter().filter(|filled| filled.section.part.is_joined());
    let unknown: Vec<i64> = joined().filter(|filled| is_new(filled)).map(room).collect();
    let changed = |filled: &Filled<'_>| news.ephemeral.typing.contains(&(filled.asker, room(filled)));
    let to_tell: Vec<i64> = joined().filter(|filled| is_new(filled) || changed(filled)).map(room).collect();
    let receipts = ephemeral::all_receipts(db, unknown);
    let typing = ephemeral::typing(db, to_tell);

    for filled in filled.iter_mut().filter(|filled| filled.section.part.is_joined()) {
        let place = (filled.asker, room(filled));
        let typing = typing.get(&place.1).cloned().unwrap_or_default();
        if is_new(filled) {
            filled.receipts = receipts.get(&place.1).cloned().unwrap_or_default();
            filled.typing = (!typing.is_empty()).then_some(typing);
        } else {
            filled.receipts = news.ephemeral.receipts.get(&place).cloned().unwrap_or_default();
            filled.typing = changed(filled).then_some(typing);
        }
    }
}

fn add_account_data(db: &Db<'_>, filled: &mut [Filled<'_>], news: &News) {
    let pair = |filled: &Filled<'_>| (filled.section.reader.user_nid, filled.section.part.room.room_nid);
    // An initial sync has read everything already.
    let is_unread =
        |filled: &Filled<'_>| filled.section.since.is_none() && filled.section.asker.since.is_some();
    let pairs: Vec<(i64, i64)> = filled.iter().filter(|filled| is_unread(filled)).map(pair).collect();
    let unread: HashMap<(i64, i64), Vec<Datum>> =
        pairs.iter().copied().zip(account_data::of_rooms(db, &pairs)).collect();
    for filled in filled {
        let data = match is_unread(filled) {
            true => unread.get(&pair(filled)),
            false => news.data.get(&(filled.asker, pair(filled).1)),
        };
        filled.account_data = data.cloned().unwrap_or_default();
    }
}
