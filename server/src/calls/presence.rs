//! The presence of the users whose devices use this node. Client-Server API, "Presence".
//!
//! Requests only note here that a device syncs, or that its user was active. Changes are written in the
//! background: that a device came online and, before the database would count it as offline, that it still is
//! online. A sync that changes nothing writes nothing.

use std::sync::Arc;
use std::time::Duration;
use std::time::Instant as StdInstant;

use moka::Expiry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::ToSql;
use tracing::Instrument;

use super::batcher::{Batcher, Group};
use crate::base::access_token::AccessToken;
use crate::base::cache::bounded;
use crate::database::Db;
use crate::hub::Hub;

/// How long a device counts as online at least after its last sync has ended.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer is written, so that a device that continues to sync is written once in this time.
const AHEAD: Duration = Duration::from_secs(60);
/// For how long a node remembers that it wrote that a device syncs as offline.
const OFFLINE: Duration = Duration::from_secs(600);
/// The least time between two writes that a user is active.
const ACTIVE: Duration = Duration::from_secs(30);
/// How often a node has the database find idle and offline users.
const POLL: Duration = Duration::from_secs(2);
/// How many devices a node remembers. A forgotten one is written once more.
const REMEMBERED: u64 = 200_000;
/// The most devices in one statement.
const MAX_BATCH: usize = 500;

const NOTE: &str = "select wake_rooms, wake_users from matriarch.note_presence($1, $2, $3, $4)";
const EXPIRE: &str = "select wake_rooms, wake_users from matriarch.expire_presence()";
const FORGET: &str = "delete from matriarch.presence";

/// `set_presence` of a sync, and `presence` of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Online,
    Unavailable,
    Offline,
}

impl State {
    /// The name in the specification.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unavailable => "unavailable",
            Self::Offline => "offline",
        }
    }
}

/// What was last written about a device.
#[derive(Clone, Copy, Default)]
struct Written {
    /// `set_presence` of its last sync, and until when that need not be written again.
    asked: Option<(State, Instant)>,
    active_at: Option<Instant>,
}

/// What to write about a device.
#[derive(Clone, Copy)]
struct Note {
    token: AccessToken,
    asked: Option<State>,
    seconds: f64,
    is_active: bool,
}

/// The presence of this node's devices. Cheap to clone; does nothing if presence is turned off.
#[derive(Clone)]
pub struct Presence(Option<Arc<Shared>>);

struct Shared {
    devices: Cache<AccessToken, Written>,
    notes: Batcher<(), Note, ()>,
}

impl Presence {
    /// Starts without devices.
    pub fn new(enabled: bool, db: Db, hub: Hub) -> Self {
        let notes = Batcher::new("presence", MAX_BATCH, move |(), notes: Vec<Note>| {
            let (db, hub) = (db.clone(), hub.clone());
            async move {
                write(&db, &hub, &notes).await;
                vec![(); notes.len()]
            }
        });
        let devices = || bounded(REMEMBERED).expire_after(WhenExpired).build();
        Self(enabled.then(|| Arc::new(Shared { devices: devices(), notes })))
    }

    /// Whether presence is turned on.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a sync with this `set_presence` that lasts until `deadline` at most.
    pub fn syncs(&self, token: AccessToken, asked: State, deadline: Instant) {
        let Some(shared) = &self.0 else { return };
        let now = Instant::now();
        let (needed_until, written_until) = match asked {
            State::Offline => (now, now + OFFLINE),
            State::Online | State::Unavailable => (deadline + GRACE, deadline + GRACE + AHEAD),
        };
        let mut note = None;
        shared.change(token, |written| {
            if written.asked.is_some_and(|(state, until)| state == asked && until >= needed_until) {
                return None;
            }
            let seconds = written_until.saturating_duration_since(now).as_secs_f64();
            note = Some(Note { token, asked: Some(asked), seconds, is_active: false });
            Some(Written { asked: Some((asked, written_until)), ..written })
        });
        note.into_iter().for_each(|note| shared.submit(note));
    }

    /// Notes that a user is active.
    pub fn is_active(&self, token: AccessToken) {
        let Some(shared) = &self.0 else { return };
        let now = Instant::now();
        let mut is_news = false;
        shared.change(token, |written| {
            is_news = written.active_at.is_none_or(|at| now >= at + ACTIVE);
            is_news.then_some(Written { active_at: Some(now), ..written })
        });
        if is_news {
            shared.submit(Note { token, asked: None, seconds: 0.0, is_active: true });
        }
    }

    /// Forgets what was written about a device, since its client has set another presence.
    pub fn forget(&self, token: &AccessToken) {
        if let Some(shared) = &self.0 {
            shared.devices.invalidate(token);
        }
    }

    /// Has the database find idle and offline users, for as long as the node runs. [`Db`] logs failures.
    pub async fn run(self, db: Db, hub: Hub) {
        if !self.is_enabled() {
            // Deletes the presence from when it was turned on.
            let _logged = db.query(FORGET, &[]).await;
            return;
        }
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            wake(&db, &hub, EXPIRE, &[]).await;
        }
    }
}

/// Forgets devices when what was written about them expires.
struct WhenExpired;

impl WhenExpired {
    fn lifetime(written: &Written) -> Duration {
        let asked = written.asked.map(|(_, until)| until);
        let active = written.active_at.map(|at| at + ACTIVE);
        let until = asked.max(active);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }
}

impl Expiry<AccessToken, Written> for WhenExpired {
    fn expire_after_create(&self, _: &AccessToken, written: &Written, _: StdInstant) -> Option<Duration> {
        Some(Self::lifetime(written))
    }

    fn expire_after_update(
        &self,
        _: &AccessToken,
        written: &Written,
        _: StdInstant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(Self::lifetime(written))
    }
}

impl Shared {
    /// Replaces what was written about a device by the result of `change`, if it is not `None`.
    fn change(&self, token: AccessToken, change: impl FnOnce(Written) -> Option<Written>) {
        self.devices.entry(token).and_compute_with(|entry| {
            let written = entry.map(|entry| entry.into_value()).unwrap_or_default();
            change(written).map_or(Op::Nop, Op::Put)
        });
    }

    fn submit(&self, note: Note) {
        let notes = self.notes.clone();
        let submit = async move {
            let _lost = notes.submit((), Group::of(()), note).await;
        };
        tokio::spawn(submit.in_current_span());
    }
}

/// A failure is logged; the device is written again later.
async fn write(db: &Db, hub: &Hub, notes: &[Note]) {
    let tokens: Vec<&[u8]> = notes.iter().map(|note| note.token.hash()).collect();
    let asked: Vec<Option<&str>> = notes.iter().map(|note| note.asked.map(State::as_str)).collect();
    let seconds: Vec<f64> = notes.iter().map(|note| note.seconds).collect();
    let active: Vec<bool> = notes.iter().map(|note| note.is_active).collect();
    wake(db, hub, NOTE, &[&tokens, &asked, &seconds, &active]).await;
}

async fn wake(db: &Db, hub: &Hub, sql: &'static str, args: &[&(dyn ToSql + Sync)]) {
    let Ok(Some(row)) = db.query_opt(sql, args).await else { return };
    let nids = |column: &str| row.try_get::<_, Vec<i64>>(column).unwrap_or_default();
    hub.wake(&nids("wake_rooms"), &nids("wake_users"));
}
