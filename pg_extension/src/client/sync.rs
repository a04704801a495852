//! `GET /sync`: what is new for a device since its token. Client-Server API, "Syncing".
//!
//! Many requests are answered by one call, and each step is one query for all of them, whatever the number of rooms:
//!
//! 1. who asks, and for what ([`asker`]);
//! 2. which of their rooms have news, and what kind of ([`parts`], [`probe`], [`ephemeral`], [`account_data`]);
//! 3. the new stretches of those rooms' timelines, as far as the asker sees them ([`cut`]);
//! 4. the state that goes with them ([`room_state`]), summaries ([`summary`]) and unread counts ([`unread`]);
//! 5. messages to their devices ([`to_device`]), and who is there ([`presence`]);
//! 6. the answers ([`body`]).

pub mod account_data;
mod asker;
mod body;
mod cut;
mod ephemeral;
mod gather;
pub mod outside;
mod parts;
pub mod presence;
mod probe;
mod room_state;
mod section;
mod stripped;
mod summary;
mod to_device;
mod unread;

use pgrx::{Array, iter::TableIterator, name, pg_extern};

pub use self::{asker::Asker, body::new_events, stripped::SHOWN_TO_OUTSIDERS};
use crate::{
    base::{
        connection::connect,
        response::Result,
        spi::{Db, Mode},
        token::SyncToken,
    },
    read::stored_event::Events,
};

/// Each answer: HTTP status, body, whether there is news, what to wait for if not, and the device that acknowledged
/// messages which are still stored.
pub type SyncRow = (
    name!(status, i16),
    name!(body, String),
    name!(changed, bool),
    name!(user_nid, Option<i64>),
    name!(room_nids, Option<Vec<i64>>),
    name!(acknowledged_by, Option<i64>),
);

/// Of `sync` and `events`.
pub type SyncRows = TableIterator<'static, SyncRow>;

/// What a sync found.
pub struct Answer {
    pub body: String,
    /// Whether there is anything but the token.
    pub changed: bool,
    pub user_nid: i64,
    /// The rooms the user is in, where `changed` is false: what to wait for.
    pub room_nids: Vec<i64>,
    /// The device whose token acknowledged messages that are still stored.
    pub acknowledged_by: Option<i64>,
}

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
    let now = SyncToken::current(db);
    let askers = asker::read_all(db, token_hashes, requests, &now);
    let events = Events::new(db);
    let good: Vec<&Asker> = askers.iter().flatten().collect();
    let mut answers = body::answer(db, &events, &good, &now).into_iter();
    let mut next = || answers.next().unwrap_or_else(|| unreachable!("an answer for each asker"));
    askers.iter().map(|asker| asker.as_ref().map(|_| next()).map_err(Clone::clone)).collect()
}

/// The rooms that a user is in.
pub fn joined_rooms(db: &Db<'_>, user_nid: i64) -> Vec<i64> {
    parts::joined(db, vec![user_nid]).concat()
}
