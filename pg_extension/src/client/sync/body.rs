//! The JSON of the answers.

use serde_json::json;

use super::{
    Answer, Asker,
    account_data::{self, Datum},
    ephemeral,
    gather::{self, Filled, News},
    outside::Outside,
    parts::{Columns, Part},
    presence,
    probe::Found,
    stripped::Stripped,
    summary,
    to_device::{self, Batch},
};
use crate::{
    base::{
        json_text::{Object, object_text},
        spi::Db,
        token::{SyncToken, pagination_token},
    },
    client::{
        end_to_end_encryption::keys::{self, Counts},
        push_rules,
    },
    read::{
        filter::EventFilter,
        render::{Renderer, Style},
        stored_event::Events,
    },
};

/// Answers each asker, in their order.
pub fn answer(db: &Db<'_>, events: &Events<'_, '_>, askers: &[&Asker], now: &SyncToken) -> Vec<Answer> {
    if askers.is_empty() {
        return Vec::new();
    }
    let columns = Columns::of(askers);
    let news = gather::news(db, askers, &columns, now);
    let keys = Keys {
        counts: of_those(
            &news.found,
            |found| found.one_time_keys,
            Counts::none(),
            |those| Counts::of_all(db, columns.devices_of(those)),
        ),
        unused_fallback_types: of_those(
            &news.found,
            |found| found.fallback_keys,
            Vec::new(),
            |those| keys::unused_fallback_types(db, columns.devices_of(those)),
        ),
    };
    let filled = gather::sections(db, events, askers, &news);
    let to_device = to_device::queued(db, &columns, &news.found);
    let presence = presence::news(db, askers, &columns, &news);
    let stripped = Stripped::read(db, events, &news.parts);
    let renderer = Renderer::new(db, events, None);
    let jobs: Vec<_> = filled
        .iter()
        .map(|filled| (&filled.section.reader, filled.section.cut.delivered.as_slice()))
        .collect();
    renderer.prepare(&jobs);

    let writer = Writer {
        events,
        news: &news,
        filled: &filled,
        to_device: &to_device,
        presence: &presence,
        stripped: &stripped,
        renderer: &renderer,
        keys: &keys,
    };
    let mut answers: Vec<Answer> =
        askers.iter().enumerate().map(|(index, asker)| writer.answer(index, asker, now)).collect();
    for (answer, found) in answers.iter_mut().zip(&news.found).filter(|(answer, _)| !answer.changed) {
        answer.room_nids.clone_from(&found.joined);
    }
    answers
}

/// Reads something for those who have any of it: an item for each asker, by their indexes, and `none` for the others.
fn of_those<T: Clone>(
    found: &[Found],
    has_any: impl Fn(&Found) -> bool,
    none: T,
    read: impl FnOnce(&[usize]) -> Vec<T>,
) -> Vec<T> {
    let mut items = vec![none; found.len()];
    let those: Vec<usize> = (0..found.len()).filter(|&index| has_any(&found[index])).collect();
    if !those.is_empty() {
        for (&index, item) in those.iter().zip(read(&those)) {
            items[index] = item;
        }
    }
    items
}

/// The events that are new to an asker, those of rooms with their room ids, as the deprecated event stream has them.
pub fn new_events(db: &Db<'_>, events: &Events<'_, '_>, asker: &Asker, now: &SyncToken) -> Vec<String> {
    let askers = [asker];
    let columns = Columns::of(&askers);
    let news = gather::news(db, &askers, &columns, now);
    let style = Style { device_nid: asker.session.device_nid, filter: None };
    let mut texts = Vec::new();
    for filled in gather::sections(db, events, &askers, &news) {
        let (room_id, reader) = (&filled.section.part.room.room_id, &filled.section.reader);
        let delivered = &filled.section.cut.delivered;
        let renderer = Renderer::new(db, events, Some(room_id));
        renderer.prepare(&[(reader, delivered)]);
        texts.extend(delivered.iter().map(|event| renderer.event(event, reader, style)));
        for mut event in ephemeral_events(&filled, asker) {
            // Goes on behind the last key.
            event.pop();
            let mut object = Object::reopen(&mut event);
            object.value("room_id", room_id);
            object.close();
            texts.push(event);
        }
    }
    for part in news.parts.values().filter(|part| part.membership == "invite") {
        let renderer = Renderer::new(db, events, Some(&part.room.room_id));
        texts.push(renderer.state_event(&events.get(part.member_event_nid), style));
    }
    texts.extend(news.outside(0).iter().filter(|room| room.membership != "knock").filter_map(Outside::event));
    texts.extend(presence::news(db, &askers, &columns, &news).concat());
    texts
}

struct Writer<'w, 'a, 'd, 'c> {
    events: &'w Events<'d, 'c>,
    news: &'w News,
    filled: &'w [Filled<'a>],
    to_device: &'w [Batch],
    /// `m.presence`, by asker.
    presence: &'w [Vec<String>],
    stripped: &'w Stripped,
    renderer: &'w Renderer<'w, 'd, 'c>,
    keys: &'w Keys,
}

/// What devices have published, in the order of the askers.
struct Keys {
    counts: Vec<Counts>,
    unused_fallback_types: Vec<Vec<String>>,
}

impl Writer<'_, '_, '_, '_> {
    fn answer(&self, index: usize, asker: &Asker, now: &SyncToken) -> Answer {
        let batch = &self.to_device[index];
        // Whoever has no token, or asks for full state, is answered at once.
        let mut changed = asker.since.is_none() || asker.full_state || !batch.messages.is_empty();
        let body = object_text(|body| {
            body.value("next_batch", now.acknowledging(batch.upto).to_string());
            let mut data = wanted_data(self.news.global_data(index), &asker.filter.account_data);
            if asker.since.is_none() && asker.filter.account_data.admits_type(push_rules::ACCOUNT_DATA_TYPE) {
                data.push(push_rules(asker));
            }
            changed |= !data.is_empty();
            body.events("account_data", data);
            body.object("rooms", |rooms| changed |= self.rooms(rooms, index, asker));
            changed |= !self.presence[index].is_empty();
            body.events("presence", &self.presence[index]);
            body.events("to_device", &batch.messages);
            if asker.since.is_some() {
                let lists = &self.news.device_lists[index];
                changed |= !lists.is_empty();
                body.object("device_lists", |body| {
                    body.value("changed", &lists.changed).value("left", &lists.left);
                });
            }
            body.value("device_one_time_keys_count", self.keys.counts[index].to_json());
            body.value("device_unused_fallback_key_types", &self.keys.unused_fallback_types[index]);
        });
        let acknowledged_by = batch.acknowledged.then_some(asker.session.device_nid);
        Answer { body, changed, user_nid: asker.session.user_nid, room_nids: Vec::new(), acknowledged_by }
    }

    /// Writes the sections of rooms; tells whether there are any.
    fn rooms(&self, rooms: &mut Object<'_>, index: usize, asker: &Asker) -> bool {
        // Askers' rooms stand together, in the order of the askers.
        let start = self.filled.partition_point(|filled| filled.asker < index);
        let end = self.filled.partition_point(|filled| filled.asker <= index);
        let (left, joined): (Vec<_>, Vec<_>) = self.filled[start..end]
            .iter()
            .filter(|filled| has_news(filled, asker))
            .partition(|filled| filled.section.part.is_left());
        let parts = || self.news.parts.range((index, i64::MIN)..=(index, i64::MAX)).map(|(_, part)| part);
        let outside = |membership: &'static str| -> Vec<&Part> {
            parts().filter(|part| part.membership == membership).collect()
        };
        let (invited, knocking) = (outside("invite"), outside("knock"));
        let elsewhere = self.news.outside(index);
        let beyond =
            |membership: &'static str| elsewhere.iter().filter(move |room| room.membership == membership);

        rooms.object("join", |sections| {
            for filled in &joined {
                sections
                    .object(&filled.section.part.room.room_id, |section| self.joined(section, filled, asker));
            }
        });
        for (name, state, parts) in
            [("invite", "invite_state", &invited), ("knock", "knock_state", &knocking)]
        {
            rooms.object(name, |sections| {
                for part in parts {
                    sections.object(&part.room.room_id, |section| {
                        section.events(state, self.stripped.state(self.events, part));
                    });
                }
                for room in beyond(name) {
                    sections.object(&room.room_id, |section| room.write_state(section, state));
                }
            });
        }
        rooms.object("leave", |sections| {
            for filled in &left {
                sections.object(&filled.section.part.room.room_id, |section| {
                    self.timeline_and_state(section, filled, asker);
                    self.room_data(section, filled, asker);
                });
            }
            for room in beyond("leave") {
                sections.object(&room.room_id, |section| room.write_leave(section, asker));
            }
        });
        let here = !(joined.is_empty() && left.is_empty() && invited.is_empty() && knocking.is_empty());
        here || !elsewhere.is_empty()
    }

    fn joined(&self, section: &mut Object<'_>, filled: &Filled<'_>, asker: &Asker) {
        section.object("summary", |summary| summary::write(summary, &filled.section, &filled.heroes));
        self.timeline_and_state(section, filled, asker);
        section.events("ephemeral", ephemeral_events(filled, asker));
        self.room_data(section, filled, asker);
        let threads_key = asker.filter.room.timeline.thread_counts_key();
        section.value("unread_notifications", filled.unread.counts(threads_key.is_some()));
        if let Some(key) = threads_key
            && !filled.unread.threads.is_empty()
        {
            section.value(key, &filled.unread.threads);
        }
    }

    fn timeline_and_state(&self, section: &mut Object<'_>, filled: &Filled<'_>, asker: &Asker) {
        let style = Style { device_nid: asker.session.device_nid, filter: Some(&asker.filter) };
        section.events(
            asker.state_key,
            filled.state.iter().map(|event| self.renderer.state_event(event, style)),
        );
        let cut = &filled.section.cut;
        section.object("timeline", |timeline| {
            let reader = &filled.section.reader;
            timeline
                .array("events", cut.delivered.iter().map(|event| self.renderer.event(event, reader, style)));
            timeline.value("limited", cut.limited).value("prev_batch", pagination_token(cut.before));
        });
    }

    fn room_data(&self, section: &mut Object<'_>, filled: &Filled<'_>, asker: &Asker) {
        section.events("account_data", room_data(filled, asker));
    }
}

/// Whether there is anything in a section that the asker wants to know.
fn has_news(filled: &Filled<'_>, asker: &Asker) -> bool {
    let section = &filled.section;
    section.is_full()
        || section.part.is_left()
        || section.cut.limited
        || !section.cut.delivered.is_empty()
        || !filled.state.is_empty()
        // The user's own receipt changes the unread counts.
        || filled.receipts.iter().any(|receipt| receipt.user_nid == section.reader.user_nid)
        || !ephemeral_events(filled, asker).is_empty()
        || !room_data(filled, asker).is_empty()
}

fn ephemeral_events(filled: &Filled<'_>, asker: &Asker) -> Vec<String> {
    let filter = &asker.filter.room.ephemeral;
    if !filter.admits_room(&filled.section.part.room.room_id) {
        return Vec::new();
    }
    let mut events = Vec::new();
    if let Some(typing) = filled.typing.as_ref().filter(|_| filter.admits_type("m.typing")) {
        events.push(ephemeral::typing_event(typing));
    }
    if filter.admits_type("m.receipt") {
        events.extend(ephemeral::receipt_events(&filled.receipts, filled.section.reader.user_nid));
    }
    events
}

fn room_data(filled: &Filled<'_>, asker: &Asker) -> Vec<String> {
    let filter = &asker.filter.room.account_data;
    match filter.admits_room(&filled.section.part.room.room_id) {
        true => wanted_data(&filled.account_data, filter),
        false => Vec::new(),
    }
}

fn wanted_data(data: &[Datum], filter: &EventFilter) -> Vec<String> {
    data.iter().filter(|(data_type, _)| filter.admits_type(data_type)).map(account_data::event).collect()
}

/// The push rules as account data. They are the same for everybody, and never news.
fn push_rules(asker: &Asker) -> String {
    let content = json!({ "global": push_rules::default_ruleset(&asker.session.user_id) });
    account_data::event(&(push_rules::ACCOUNT_DATA_TYPE.to_owned(), content.to_string()))
}
