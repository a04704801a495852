//! Makes the sections of rooms and fills them step by step, each step for all askers at once.

use std::collections::HashMap;

use super::{
    Asker,
    account_data::{self, Datum},
    ephemeral,
    news::News,
    room_state, room_timeline,
    section::Section,
    summary, unread,
};
use crate::{
    base::spi::Db,
    read::{erasures, stored_event::Events},
};

/// Makes the sections of joined and left rooms.
pub fn sections<'a>(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    askers: &[&'a Asker],
    news: &'a News,
) -> Vec<Section<'a>> {
    let parts: Vec<_> = news.with_timeline().map(|(index, part)| (index, askers[index], part)).collect();
    if parts.is_empty() {
        return Vec::new();
    }
    let mut sections = Section::open_all(db, events, &parts, &news.ignored);
    room_timeline::read_all(db, events, &mut sections);
    for section in sections.iter_mut().filter(|section| section.part.room.has_erasures) {
        let reader = &section.reader;
        let was_joined = |root| reader.was_joined(db, events, root);
        erasures::redact(db, section.part.room.room_nid, &mut section.timeline.delivered, was_joined);
    }
    summary::find_heroes(db, events, &mut sections);
    room_state::find_state(db, events, &mut sections);
    unread::count(db, &mut sections);
    add_ephemeral(db, &mut sections, news);
    add_account_data(db, &mut sections, news);
    sections
}

fn add_ephemeral(db: &Db<'_>, sections: &mut [Section<'_>], news: &News) {
    let room = |section: &Section<'_>| section.part.room.room_nid;
    let is_new = |section: &Section<'_>| section.since.is_none();
    let joined = || sections.iter().filter(|section| section.part.is_joined());
    let unknown: Vec<i64> = joined().filter(|section| is_new(section)).map(room).collect();
    let changed = |section: &Section<'_>| news.ephemeral.typing.contains(&(section.index, room(section)));
    let to_tell: Vec<i64> =
        joined().filter(|section| is_new(section) || changed(section)).map(room).collect();
    let receipts = ephemeral::all_receipts(db, unknown);
    let typing = ephemeral::typing(db, to_tell);

    for section in sections.iter_mut().filter(|section| section.part.is_joined()) {
        let place = (section.index, room(section));
        let typing = typing.get(&place.1).cloned().unwrap_or_default();
        if is_new(section) {
            section.receipts = receipts.get(&place.1).cloned().unwrap_or_default();
            section.typing = (!typing.is_empty()).then_some(typing);
        } else {
            section.receipts = news.ephemeral.receipts.get(&place).cloned().unwrap_or_default();
            section.typing = changed(section).then_some(typing);
        }
    }
}

fn add_account_data(db: &Db<'_>, sections: &mut [Section<'_>], news: &News) {
    let pair = |section: &Section<'_>| (section.reader.user_nid, section.part.room.room_nid);
    // For an initial sync, all account data was read before.
    let is_unread = |section: &Section<'_>| section.since.is_none() && section.asker.since.is_some();
    let pairs: Vec<(i64, i64)> = sections.iter().filter(|section| is_unread(section)).map(pair).collect();
    let unread: HashMap<(i64, i64), Vec<Datum>> =
        pairs.iter().copied().zip(account_data::of_rooms(db, &pairs)).collect();
    for section in sections {
        let data = if is_unread(section) {
            unread.get(&pair(section))
        } else {
            news.data.get(&(section.index, pair(section).1))
        };
        section.account_data = data.cloned().unwrap_or_default();
    }
}
