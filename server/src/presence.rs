//! Who is there, as this node sees it. Client-Server API, "Presence".
//!
//! Requests only note here that a device syncs, or that its user did something. Now and then, off the requests' path, what is news
//! is written: that a device came, and that it is still there before the database would take it for gone. A sync that says what the
//! ones before it said writes nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::ToSql;
use tracing::Instrument;

use crate::batcher::Batcher;
use crate::db::Db;
use crate::http::AccessToken;
use crate::hub::Hub;

/// How long a device counts as there after its last sync has ended, at least.
const GRACE: Duration = Duration::from_secs(30);
/// How much longer than that is written, so that a device which goes on syncing is written once in so long.
const AHEAD: Duration = Duration::from_secs(60);
/// How often at most it is written that a user is active.
const ACTIVE: Duration = Duration::from_secs(30);
/// How often a node looks who is idle or gone.
const POLL: Duration = Duration::from_secs(2);
/// How many devices a node remembers. Beyond it all are forgotten, and written once more.
const REMEMBERED: usize = 200_000;
/// How many devices go into one statement at most.
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
    /// As the specification writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Unavailable => "unavailable",
            Self::Offline => "offline",
        }
    }
}

/// What was written of a device.
#[derive(Clone, Copy, Default)]
struct Written {
    /// `set_presence` of its last sync, and until when it counts as there.
    there: Option<(State, Instant)>,
    active_at: Option<Instant>,
}

/// What is to be written of a device.
#[derive(Clone, Copy)]
struct Note {
    token: AccessToken,
    asked: Option<State>,
    seconds: f64,
    is_active: bool,
}

/// The devices of this node. Cheap to clone; does nothing where presence is turned off.
#[derive(Clone)]
pub struct Presence(Option<Arc<Shared>>);

struct Shared {
    devices: Mutex<HashMap<AccessToken, Written>>,
    notes: Batcher<(), Note, ()>,
}

impl Presence {
    /// A node that has seen nobody.
    pub fn new(enabled: bool, db: Db, hub: Hub) -> Self {
        let notes = Batcher::new("presence", MAX_BATCH, move |(), notes: Vec<Note>| {
            let (db, hub) = (db.clone(), hub.clone());
            async move {
                write(&db, &hub, &notes).await;
                vec![(); notes.len()]
            }
        });
        Self(enabled.then(|| Arc::new(Shared { devices: Mutex::default(), notes })))
    }

    /// Whether there is presence at all.
    pub fn is_enabled(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a sync with this `set_presence` that lasts until `deadline` at most.
    pub fn syncs(&self, token: AccessToken, asked: State, deadline: Instant) {
        let Some(shared) = &self.0 else { return };
        let note = {
            let mut devices = shared.devices();
            if asked == State::Offline {
                let was_there = devices.get_mut(&token).and_then(|written| written.there.take());
                if was_there.is_none() {
                    return;
                }
                Note { token, asked: Some(asked), seconds: 0.0, is_active: false }
            } else {
                let written = devices.entry(token).or_default();
                let until = deadline + GRACE;
                if written.there.is_some_and(|(state, written)| state == asked && written >= until) {
                    return;
                }
                written.there = Some((asked, until + AHEAD));
                let seconds = (until + AHEAD).saturating_duration_since(Instant::now()).as_secs_f64();
                Note { token, asked: Some(asked), seconds, is_active: false }
            }
        };
        shared.submit(note);
    }

    /// Notes that a user did something.
    pub fn is_active(&self, token: AccessToken) {
        let Some(shared) = &self.0 else { return };
        {
            let now = Instant::now();
            let mut devices = shared.devices();
            let written = devices.entry(token).or_default();
            if written.active_at.is_some_and(|at| now < at + ACTIVE) {
                return;
            }
            written.active_at = Some(now);
        }
        shared.submit(Note { token, asked: None, seconds: 0.0, is_active: true });
    }

    /// Forgets what was written of a device, since its client has said otherwise.
    pub fn forget(&self, token: &AccessToken) {
        if let Some(shared) = &self.0 {
            shared.devices().remove(token);
        }
    }

    /// Looks who is idle or gone, for as long as the node runs. A database that is away was logged by [`Db`].
    pub async fn run(self, db: Db, hub: Hub) {
        if !self.is_enabled() {
            // What was known when presence was on.
            let _logged = db.query(FORGET, &[]).await;
            return;
        }
        let mut ticks = interval(POLL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            wake(&db, &hub, EXPIRE, &[]).await;
            self.clean();
        }
    }

    /// Forgets devices that are gone.
    fn clean(&self) {
        let Some(shared) = &self.0 else { return };
        let mut devices = shared.devices();
        if devices.len() > REMEMBERED {
            devices.clear();
        }
        let now = Instant::now();
        devices.retain(|_, written| {
            written.there.is_some_and(|(_, until)| now < until)
                || written.active_at.is_some_and(|at| now < at + ACTIVE)
        });
    }
}

impl Shared {
    fn devices(&self) -> MutexGuard<'_, HashMap<AccessToken, Written>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn submit(&self, note: Note) {
        let notes = self.notes.clone();
        let submit = async move {
            let _lost = notes.submit((), note).await;
        };
        tokio::spawn(submit.in_current_span());
    }
}

/// What cannot be written is lost until the device is to be written again.
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
