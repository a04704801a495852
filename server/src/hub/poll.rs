//! Polls for news once a second, so that a lost `NOTIFY` delays a message by a second at most.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Row;

use super::Hub;
use super::topic::{Source, Topic};
use crate::base::error::ApiError;
use crate::database::Db;

const INTERVAL: Duration = Duration::from_secs(1);
/// Ids are assigned before their transactions commit, so the range of this many earlier polls is read again.
const OVERLAP_POLLS: usize = 3;

const NEWEST_EVENT: &str = "select coalesce(max(event_nid), 0) from matriarch.events";
const EVENTS_AFTER: &str = "
select event_nid, room_nid, xid::text
from matriarch.events
where event_nid > $1
order by event_nid
limit 20000";
const EXPIRE_TYPING: &str = "select room_nid from matriarch.expire_typing() as room_nid";

/// The results of earlier polls.
struct Horizon {
    /// The newest event of each of the latest polls, oldest first.
    newest: VecDeque<i64>,
    /// Known events that are newer than the oldest of them.
    seen: BTreeSet<i64>,
}

/// A new event: its id, its room, and the transaction that wrote it.
type NewEvent = (i64, i64, String);

/// Polls until the process ends.
pub async fn run(hub: Hub, db: Db) {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut horizon = None;
    loop {
        ticks.tick().await;
        crate::base::metrics::pool(db.pool_status());
        // If the database is not reachable, `Db` logs it and the next tick tries again.
        let _ = poll_once(&hub, &db, &mut horizon).await;
    }
}

async fn poll_once(hub: &Hub, db: &Db, horizon: &mut Option<Horizon>) -> Result<(), ApiError> {
    let typing = nids(&db.query(EXPIRE_TYPING, &[]).await?);
    // Other nodes are told too, as the database returns expired rows to only one node.
    hub.wake(&typing, &[]);

    let Some(horizon) = horizon else {
        let newest = nids(&db.query(NEWEST_EVENT, &[]).await?);
        *horizon = Some(Horizon::new(newest.first().copied().unwrap_or_default()));
        return Ok(());
    };
    let rows = db.query(EVENTS_AFTER, &[&horizon.oldest()]).await?;
    let new = horizon.advance(rows.iter().filter_map(new_event).collect());
    let heard = hub.waiters().take_heard();
    hub.wake_here(&unheard(&new, &heard), Source::Poll);
    Ok(())
}

fn nids(rows: &[Row]) -> Vec<i64> {
    rows.iter().filter_map(|row| row.try_get(0).ok()).collect()
}

fn new_event(row: &Row) -> Option<NewEvent> {
    Some((row.try_get(0).ok()?, row.try_get(1).ok()?, row.try_get(2).ok()?))
}

/// The rooms with more new transactions than wake-ups: a wake-up was lost or has not arrived yet.
fn unheard(events: &[NewEvent], heard: &HashMap<i64, u32>) -> Vec<Topic> {
    let mut transactions: BTreeMap<i64, BTreeSet<&str>> = BTreeMap::new();
    for (_, room_nid, xid) in events {
        transactions.entry(*room_nid).or_default().insert(xid);
    }
    transactions
        .into_iter()
        .filter(|(room_nid, xids)| xids.len() > heard.get(room_nid).map_or(0, |count| *count as usize))
        .map(|(room_nid, _)| Topic::Room(room_nid))
        .collect()
}

impl Horizon {
    fn new(newest: i64) -> Self {
        Self { newest: VecDeque::from([newest]), seen: BTreeSet::new() }
    }

    /// Events up to this one are not read again.
    fn oldest(&self) -> i64 {
        self.newest.front().copied().unwrap_or_default()
    }

    /// Adds the events of a poll, and returns those that are new.
    fn advance(&mut self, events: Vec<NewEvent>) -> Vec<NewEvent> {
        let new: Vec<_> = events.into_iter().filter(|(event_nid, ..)| self.seen.insert(*event_nid)).collect();
        let newest = self.seen.last().copied().unwrap_or_else(|| self.oldest());
        self.newest.push_back(newest);
        if self.newest.len() > OVERLAP_POLLS {
            self.newest.pop_front();
            self.seen = self.seen.split_off(&(self.oldest() + 1));
        }
        new
    }
}
