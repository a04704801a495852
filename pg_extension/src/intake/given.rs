//! Given states: states before events whose previous events are missing.

use std::collections::{BTreeMap, HashSet};

use matriarch_wire::{GivenUp, States};
use serde::de::DeserializeOwned;

use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    room::{Room, graph_events::Status},
    trie,
};

/// Reads the argument `states`. 400 `M_INVALID_PARAM` if it is malformed.
pub fn parse_states(states: Option<&str>) -> Result<States> {
    parse(states, "`states` is an object from event ids to arrays of event ids.")
}

/// Reads the argument `given_up`. 400 `M_INVALID_PARAM` if it is malformed.
pub fn parse_given_up(given_up: Option<&str>) -> Result<GivenUp> {
    parse(
        given_up,
        "`given_up` is an object of `keys`, `prev_events` and `policy_signatures`, arrays of strings.",
    )
}

fn parse<T: Default + DeserializeOwned>(json: Option<&str>, form: &str) -> Result<T> {
    let Some(json) = json else { return Ok(T::default()) };
    serde_json::from_str(json).map_err(|_| MatrixError::invalid_param(form))
}

const STATE_EVENTS: &str = "
    select wanted.event_id, e.event_nid, e.key_idx, e.status
    from unnest($2) as wanted (event_id)
    left join lateral (
        select event_nid, key_idx, status from events
        where event_id = wanted.event_id and room_nid = $1 offset 0
    ) e on true";

/// A state that is given by its events.
pub struct GivenState {
    entries: BTreeMap<i32, Option<i64>>,
    /// The ids of events that are not stored.
    pub missing: Vec<String>,
}

impl GivenState {
    /// Reads the events of a state, and leaves out rejected ones. The error says why they are no state.
    pub fn read(db: &Db<'_>, room_nid: i64, event_ids: &[String]) -> std::result::Result<Self, &'static str> {
        let ids: Vec<&str> = event_ids.iter().map(String::as_str).filter(|id| !id.contains('\0')).collect();
        let mut given = Self { entries: BTreeMap::new(), missing: Vec::new() };
        for row in db.query(STATE_EVENTS, &[room_nid.into(), ids.into()]) {
            let Some(nid) = row.opt::<i64>("event_nid") else {
                given.missing.push(row.get("event_id"));
                continue;
            };
            let Some(key_idx) = row.opt::<i32>("key_idx") else { continue };
            if Status::of_code(row.get("status")) == Status::Rejected {
                continue;
            }
            if given.entries.insert(key_idx, Some(nid)).is_some_and(|other| other != Some(nid)) {
                return Err("the given state has two events for one state key");
            }
        }
        Ok(given)
    }

    /// The nid of the event of a state key.
    pub fn get(&self, key_idx: i32) -> Option<i64> {
        self.entries.get(&key_idx).copied().flatten()
    }

    /// Keeps the events of `keys`, and replaces all others with those of another state.
    pub fn keep_only(&mut self, keys: &HashSet<i32>, other: impl IntoIterator<Item = (i32, i64)>) {
        self.entries.retain(|key_idx, _| keys.contains(key_idx));
        let others = other.into_iter().filter(|(key_idx, _)| !keys.contains(key_idx));
        self.entries.extend(others.map(|(key_idx, nid)| (key_idx, Some(nid))));
    }

    /// Stores the state and returns its root. The caller holds the room's lock.
    pub fn root(&self, room: &Room<'_>) -> i64 {
        trie::set_many(room.db, room.nid, trie::EMPTY, &self.entries)
    }
}
