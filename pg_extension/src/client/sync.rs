//! `GET /sync`: everything that is new for a device since its token. Client-Server API, "Syncing".
//!
//! One call answers many requests. Each step runs a fixed number of queries for all of them, whatever the
//! number of rooms:
//!
//! 1. reads the requests and their sessions, the askers ([`asker`]);
//! 2. finds which of their rooms have news, and of which kinds ([`news`]: [`probe`], [`parts`],
//!    [`ephemeral`], [`account_data`]);
//! 3. fills the sections of these rooms ([`fill`]): the new events of the timeline that the asker may see
//!    ([`room_timeline`]), the state for that timeline ([`room_state`]), the summary ([`summary`]) and the
//!    unread counts ([`unread`]);
//! 4. reads messages to the devices ([`to_device`]), presence ([`presence`]) and stripped state
//!    ([`stripped`]);
//! 5. writes the answers ([`body`]).

pub mod account_data;
mod asker;
mod body;
mod ephemeral;
mod event_stream;
mod fill;
mod news;
pub mod out_of_band_memberships;
mod parts;
pub mod presence;
mod probe;
mod room_state;
mod room_timeline;
mod section;
mod stripped;
mod summary;
mod to_device;
mod unread;

use matriarch_rules::sync_token::SyncToken;
use pgrx::{Array, iter::TableIterator, name, pg_extern};

pub use self::{
    asker::Asker,
    body::Answer,
    event_stream::{new_ephemeral_events, new_events},
    stripped::SHOWN_TO_OUTSIDERS,
};
use self::{
    body::{Keys, Writer},
    parts::Columns,
    probe::Probe,
    stripped::Stripped,
};
use crate::{
    base::{
        connection::connect,
        response::Result,
        spi::{Db, Mode},
        token,
    },
    client::end_to_end_encryption::keys::{self, Counts},
    read::{render::Renderer, stored_event::Events},
};

/// An answer: HTTP status, body, whether there is news, the user and rooms to wait for if not, and the device
/// that acknowledged send-to-device messages which are still stored.
pub type SyncRow = (
    name!(status, i16),
    name!(body, String),
    name!(changed, bool),
    name!(user_nid, Option<i64>),
    name!(room_nids, Option<Vec<i64>>),
    name!(acknowledged_by, Option<i64>),
);

/// The result of `sync` and `events`.
pub type SyncRows = TableIterator<'static, SyncRow>;

/// `GET /sync`, for several requests at once.
#[pg_extern(stable)]
fn sync(token_hashes: Array<'_, &[u8]>, requests: Vec<String>) -> SyncRows {
    let token_hashes: Vec<&[u8]> = token_hashes.iter().map(Option::unwrap_or_default).collect();
    let answers = connect(Mode::Read, |db| answer_all(db, &token_hashes, &requests));
    TableIterator::new(answers.into_iter().map(row))
}

/// Encodes an answer.
pub fn row(answer: Result<Answer>) -> SyncRow {
    match answer {
        Ok(answer) => {
            let rooms = (!answer.changed).then_some(answer.room_nids);
            (200, answer.body, answer.changed, Some(answer.user_nid), rooms, answer.acknowledged_by)
        }
        Err(error) => (error.status, error.body(), true, None, None, None),
    }
}

fn answer_all(db: &Db<'_>, token_hashes: &[&[u8]], requests: &[String]) -> Vec<Result<Answer>> {
    let now = token::now(db);
    let askers = asker::read_all(db, token_hashes, requests, &now);
    let events = Events::new(db);
    let good: Vec<&Asker> = askers.iter().flatten().collect();
    let mut answers = answer(db, &events, &good, &now).into_iter();
    let mut next = || answers.next().unwrap_or_else(|| unreachable!("an answer for each asker"));
    askers.iter().map(|asker| asker.as_ref().map(|_| next()).map_err(Clone::clone)).collect()
}

/// Answers each asker, in their order.
fn answer(db: &Db<'_>, events: &Events<'_, '_>, askers: &[&Asker], now: &SyncToken) -> Vec<Answer> {
    if askers.is_empty() {
        return Vec::new();
    }
    let columns = Columns::of(askers);
    let news = news::find(db, askers, &columns, now);
    let keys = Keys {
        counts: of_those(
            &news.probes,
            |found| found.one_time_keys,
            Counts::none(),
            |those| Counts::of_all(db, columns.devices_of(those)),
        ),
        unused_fallback_types: of_those(
            &news.probes,
            |found| found.fallback_keys,
            Vec::new(),
            |those| keys::unused_fallback_types(db, columns.devices_of(those)),
        ),
    };
    let sections = fill::sections(db, events, askers, &news);
    let to_device = to_device::queued(db, &columns, &news.probes);
    let presence = presence::news(db, askers, &columns, &news);
    let stripped = Stripped::read(db, events, &news.parts);
    let renderer = Renderer::new(db, events, None);
    let changed_state: Vec<Vec<_>> = sections
        .iter()
        .map(|section| section.state.iter().filter(|event| section.tells_replaced(event)).cloned().collect())
        .collect();
    let jobs: Vec<_> = sections
        .iter()
        .zip(&changed_state)
        .flat_map(|(section, state)| {
            [section.timeline.delivered.as_slice(), state].map(|part| (&section.reader, part))
        })
        .collect();
    renderer.prepare(&jobs);

    let writer = Writer {
        events,
        news: &news,
        sections: &sections,
        to_device: &to_device,
        presence: &presence,
        stripped: &stripped,
        renderer: &renderer,
        keys: &keys,
    };
    let mut answers: Vec<Answer> =
        askers.iter().enumerate().map(|(index, asker)| writer.answer(index, asker, now)).collect();
    for (answer, found) in answers.iter_mut().zip(&news.probes).filter(|(answer, _)| !answer.changed) {
        answer.room_nids.clone_from(&found.joined);
    }
    answers
}

/// Calls `read` with the indexes of the askers for whom `has_any` is true. Returns an item for each asker;
/// `none` for the others.
fn of_those<T: Clone>(
    found: &[Probe],
    has_any: impl Fn(&Probe) -> bool,
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

/// The nids of the rooms that a user is joined to.
pub fn joined_rooms(db: &Db<'_>, user_nid: i64) -> Vec<i64> {
    parts::joined(db, vec![user_nid]).concat()
}
