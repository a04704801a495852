//! Writes the JSON of the answers.

use matriarch_rules::{
    json_text::{Object, object_text},
    sync_token::{SyncToken, pagination_token},
};
use serde_json::json;

use super::{
    Asker,
    account_data::{self, Datum},
    ephemeral,
    news::News,
    parts::Part,
    section::Section,
    stripped::Stripped,
    summary,
    to_device::Batch,
};
use crate::{
    client::{end_to_end_encryption::keys::Counts, push_rules},
    read::{
        render::{Renderer, Style},
        stored_event::Events,
    },
};

/// The answer to one sync.
pub struct Answer {
    pub body: String,
    /// Whether the answer has news.
    pub changed: bool,
    pub user_nid: i64,
    /// The rooms that the user is joined to, if `changed` is false: the API node waits for news in them.
    pub room_nids: Vec<i64>,
    /// The device, if its token acknowledged send-to-device messages that are still stored.
    pub acknowledged_by: Option<i64>,
}

/// Everything that the answers are written from.
pub struct Writer<'w, 'a, 'd, 'c> {
    pub events: &'w Events<'d, 'c>,
    pub news: &'w News,
    pub sections: &'w [Section<'a>],
    pub to_device: &'w [Batch],
    /// `m.presence`, by asker.
    pub presence: &'w [Vec<String>],
    pub stripped: &'w Stripped,
    pub renderer: &'w Renderer<'w, 'd, 'c>,
    pub keys: &'w Keys,
}

/// The numbers and types of keys that the devices have, in the order of the askers.
pub struct Keys {
    pub counts: Vec<Counts>,
    pub unused_fallback_types: Vec<Vec<String>>,
}

impl Writer<'_, '_, '_, '_> {
    /// Writes the answer to one asker.
    pub fn answer(&self, index: usize, asker: &Asker, now: &SyncToken) -> Answer {
        let batch = &self.to_device[index];
        // An asker without a token, or that requests full state, never waits.
        let mut changed = asker.since.is_none() || asker.full_state || !batch.messages.is_empty();
        let body = object_text(|body| {
            body.value("next_batch", now.acknowledging(batch.upto).to_string());
            let mut data = wanted_data(self.news.global_data(index), |data_type| {
                asker.filter.account_data.admits_type(data_type)
            });
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

    /// Writes the sections of rooms. Returns whether there are any.
    fn rooms(&self, rooms: &mut Object<'_>, index: usize, asker: &Asker) -> bool {
        // Sections are in the order of the askers.
        let start = self.sections.partition_point(|section| section.index < index);
        let end = self.sections.partition_point(|section| section.index <= index);
        let (left, joined): (Vec<_>, Vec<_>) = self.sections[start..end]
            .iter()
            .filter(|section| has_news(section, asker))
            .partition(|section| section.part.is_left());
        let parts = || self.news.parts.range((index, i64::MIN)..=(index, i64::MAX)).map(|(_, part)| part);
        let with = |membership: &'static str| -> Vec<&Part> {
            parts().filter(|part| part.membership == membership).collect()
        };
        let (invited, knocking) = (with("invite"), with("knock"));
        let out_of_band = self.news.out_of_band(index);
        let out_of_band_with =
            |membership: &'static str| out_of_band.iter().filter(move |room| room.membership == membership);

        rooms.object("join", |by_room| {
            for section in &joined {
                by_room.object(&section.part.room.room_id, |object| self.joined(object, section, asker));
            }
        });
        for (name, state, parts) in
            [("invite", "invite_state", &invited), ("knock", "knock_state", &knocking)]
        {
            rooms.object(name, |by_room| {
                for part in parts {
                    by_room.object(&part.room.room_id, |object| {
                        object.events(state, self.stripped.state(self.events, part));
                    });
                }
                for room in out_of_band_with(name) {
                    by_room.object(&room.room_id, |object| room.write_state(object, state));
                }
            });
        }
        rooms.object("leave", |by_room| {
            for section in &left {
                by_room.object(&section.part.room.room_id, |object| {
                    self.timeline_and_state(object, section, asker);
                    self.room_data(object, section, asker);
                });
            }
            for room in out_of_band_with("leave") {
                by_room.object(&room.room_id, |object| room.write_leave(object, asker));
            }
        });
        let here = !(joined.is_empty() && left.is_empty() && invited.is_empty() && knocking.is_empty());
        here || !out_of_band.is_empty()
    }

    fn joined(&self, object: &mut Object<'_>, section: &Section<'_>, asker: &Asker) {
        object.object("summary", |summary| summary::write(summary, section));
        self.timeline_and_state(object, section, asker);
        object.events("ephemeral", ephemeral_events(section, asker));
        self.room_data(object, section, asker);
        let threads_key = asker.filter.room.timeline.thread_counts_key();
        object.value("unread_notifications", section.unread.counts(threads_key.is_some()));
        if let Some(key) = threads_key
            && !section.unread.threads.is_empty()
        {
            object.value(key, &section.unread.threads);
        }
    }

    fn timeline_and_state(&self, object: &mut Object<'_>, section: &Section<'_>, asker: &Asker) {
        let style = Style { device_nid: asker.session.device_nid, filter: Some(&asker.filter) };
        object.events(
            asker.state_key,
            section.state.iter().map(|event| match section.tells_replaced(event) {
                true => self.renderer.changed_state_event(event, &section.reader, style),
                false => self.renderer.state_event(event, Some(&section.reader), style),
            }),
        );
        let shown = &section.timeline;
        object.object("timeline", |timeline| {
            let reader = &section.reader;
            timeline.array(
                "events",
                shown.delivered.iter().map(|event| self.renderer.event(event, reader, style)),
            );
            timeline.value("limited", shown.limited).value("prev_batch", pagination_token(shown.before));
        });
    }

    fn room_data(&self, object: &mut Object<'_>, section: &Section<'_>, asker: &Asker) {
        object.events("account_data", room_data(section, asker));
    }
}

/// Whether the asker is told of the room: anything in the section is news for it.
fn has_news(section: &Section<'_>, asker: &Asker) -> bool {
    section.is_full()
        || section.part.is_left()
        || section.timeline.limited
        || !section.timeline.delivered.is_empty()
        || !section.state.is_empty()
        // The user's own receipt changes the unread counts.
        || section.receipts.iter().any(|receipt| receipt.user_nid == section.reader.user_nid)
        || !ephemeral_events(section, asker).is_empty()
        || !room_data(section, asker).is_empty()
}

pub fn ephemeral_events(section: &Section<'_>, asker: &Asker) -> Vec<String> {
    let filter = &asker.filter.room.ephemeral;
    if !filter.admits_room(&section.part.room.room_id) {
        return Vec::new();
    }
    let mut events = Vec::new();
    if let Some(typing) = section.typing.as_ref().filter(|_| filter.admits_type("m.typing")) {
        events.push(ephemeral::typing_event(typing));
    }
    if filter.admits_type("m.receipt") {
        events.extend(ephemeral::receipt_events(&section.receipts, section.reader.user_nid));
    }
    events
}

fn room_data(section: &Section<'_>, asker: &Asker) -> Vec<String> {
    let filter = &asker.filter.room.account_data;
    if filter.admits_room(&section.part.room.room_id) {
        wanted_data(&section.account_data, |data_type| filter.admits_type(data_type))
    } else {
        Vec::new()
    }
}

fn wanted_data(data: &[Datum], admits: impl Fn(&str) -> bool) -> Vec<String> {
    data.iter().filter(|(data_type, _)| admits(data_type)).map(account_data::event).collect()
}

/// The push rules as account data. They are the same for all users and never change, so only an initial sync
/// has them.
fn push_rules(asker: &Asker) -> String {
    let content = json!({ "global": push_rules::default_ruleset(&asker.session.user_id) });
    account_data::event(&(push_rules::ACCOUNT_DATA_TYPE.to_owned(), content.to_string()))
}
