//! Fetches what events need from other servers.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use futures_util::{StreamExt, stream};
use matriarch_rules::identifiers::server_name;
use matriarch_rules::json::parse_pdu;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::time::timeout;
use tracing::{debug, info};

use super::Intake;
use super::ask::{Fetched, lost};
use super::batch::{Kind, Unavailable};
use super::pool::Open;
use super::surroundings::{Ends, MEBIBYTE, Surroundings};
use crate::base::error::ApiError;
use crate::base::percent::encode;
use crate::base::raw_object::RawObject;
use crate::federation::http_client::Request;
use crate::federation::state_downloads::{ANSWER_TIMEOUT, MAX_ANSWER};

/// How many requests run at the same time to one server, and to many servers for keys: some of those will not
/// answer.
const PARALLEL: usize = 10;
const PARALLEL_KEYS: usize = 50;
/// How many events of a gap one request asks for.
const GAP_EVENTS: usize = 100;
/// How many events of a gap are fetched one by one in each round.
const GAP_SINGLES: usize = 20;
/// How many earliest and latest events a `get_missing_events` request names.
const GAP_ENDS: usize = 20;
/// If more events of a state are missing, the whole state is fetched.
const STATE_SINGLES: usize = 100;

/// The longest answers that are read, in bytes.
const MAX_EVENT: usize = 256 * 1024;
const MAX_GAP: usize = 8 * MEBIBYTE;
const MAX_CHAIN: usize = 32 * MEBIBYTE;
const MAX_IDS: usize = 16 * MEBIBYTE;

/// The sender of a staged event.
#[derive(Deserialize)]
struct Sent {
    sender: String,
}

fn event_ids(answer: &RawObject, key: &str) -> Vec<String> {
    let mut ids = answer.strings(key);
    ids.retain(|id| !id.contains('\0'));
    ids
}

impl<S: Surroundings> Intake<'_, S> {
    /// Fetches what the open events need, or notes that it is unavailable.
    pub(super) async fn fetch(&mut self) -> Result<(), ApiError> {
        let waits = self.waits_for_outliers();
        self.fetch_keys().await?;
        if waits {
            return self.fetch_auth_events().await;
        }
        // First, since auth events may lie in the gap: an account that changes its name often has a long
        // chain of them.
        self.fetch_prev_events().await?;
        self.fetch_auth_events().await?;
        self.fetch_states().await?;
        self.fetch_signatures().await;
        Ok(())
    }

    /// Whether open outliers kept the events of the timeline from being received in this round. The needs
    /// that are known of those are from an earlier round, and were fetched then.
    fn waits_for_outliers(&self) -> bool {
        !self.outliers.events.is_empty()
    }

    /// The events whose current needs are known.
    fn looked_at(&self) -> impl Iterator<Item = &Open> {
        let main = if self.waits_for_outliers() { &[] } else { self.main.events.as_slice() };
        main.iter().chain(&self.outliers.events)
    }

    /// Asks policy servers to sign events that lack their signature, once for each event. Events that they do
    /// not sign go on without it.
    async fn fetch_signatures(&mut self) {
        let surroundings = self.surroundings;
        let time_left = self.budget.time_left();
        let mut wanted = Vec::new();
        for (index, open) in self.main.events.iter().enumerate() {
            let Some(server) = &open.needs.policy_server else { continue };
            if self.asked_to_sign.insert(open.event_id.clone()) && self.budget.singles.take() {
                wanted.push((index, server.clone(), open.text.clone()));
            } else {
                self.given_up.policy_signatures.insert(open.event_id.clone());
            }
        }
        let signed: Vec<(usize, Option<String>)> = stream::iter(wanted)
            .map(|(index, server, text)| async move {
                let mut event = parse_pdu(&text).unwrap_or_default();
                let sign = surroundings.sign(&server, &mut event.object);
                let signed = match timeout(time_left, sign).await {
                    Ok(Ok(())) => Some(event.to_canonical()),
                    Ok(Err(error)) => {
                        debug!(server, %error, "a policy server did not sign an event");
                        None
                    }
                    Err(_) => None,
                };
                (index, signed)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        for (index, signed) in signed {
            let open = &mut self.main.events[index];
            match signed {
                Some(text) => open.text = text,
                None => {
                    self.given_up.policy_signatures.insert(open.event_id.clone());
                }
            }
        }
    }

    async fn fetch_keys(&mut self) -> Result<(), ApiError> {
        let wanted = self.looked_at().flat_map(|event| &event.needs.keys).map(|(server, _)| server);
        let wanted: BTreeSet<String> =
            wanted.filter(|server| !self.unavailable.keys.contains_key(*server)).cloned().collect();
        let surroundings = self.surroundings;
        let time_left = self.budget.time_left();
        let (again, first): (Vec<String>, Vec<String>) =
            wanted.into_iter().partition(|server| self.asked.contains(server));
        for server in again {
            let reason = lost(format!("{server} has no such key"));
            self.unavailable.keys.insert(server, reason);
        }
        let fetched: Vec<(String, Result<(), Unavailable>)> = stream::iter(first)
            .map(|server| async move {
                let fetched = match timeout(time_left, surroundings.fetch_keys(&server)).await {
                    Ok(fetched) => fetched,
                    Err(_) => Err(format!("{server} gave no keys in time")),
                };
                (server, fetched.map_err(|reason| Unavailable { reason, later: true }))
            })
            .buffer_unordered(PARALLEL_KEYS)
            .collect()
            .await;
        for (server, result) in fetched {
            if let Err(reason) = result {
                self.unavailable.keys.insert(server.clone(), reason);
            }
            self.asked.insert(server);
        }
        Ok(())
    }

    /// Fetches auth events and events of given states, as outliers.
    async fn fetch_auth_events(&mut self) -> Result<(), ApiError> {
        let mut wanted = self.wanted_events();
        if wanted.is_empty() {
            return Ok(());
        }
        let events: Vec<String> = self
            .main
            .events
            .iter()
            .filter(|event| event.needs.events.iter().any(|id| wanted.contains(id)))
            .filter(|event| !self.states.contains_key(&event.event_id))
            .map(|event| event.event_id.clone())
            .collect();
        for event_id in events {
            if wanted.is_empty() || !self.budget.chains.take() {
                break;
            }
            let path =
                format!("/_matrix/federation/v1/event_auth/{}/{}", encode(self.room_id), encode(&event_id));
            let chain =
                self.ask(&path, None, MAX_CHAIN, |answer| self.read_events(&answer, "auth_chain")).await?;
            if let Ok(chain) = chain {
                self.add_outliers(chain, Some(&wanted)).await?;
                wanted.retain(|id| !self.outlier_ids.contains(id));
            }
        }
        self.fetch_singles(wanted).await
    }

    /// The events that open events need and that were not requested yet.
    fn wanted_events(&mut self) -> BTreeSet<String> {
        let wanted: BTreeSet<String> =
            self.looked_at().flat_map(|event| &event.needs.events).cloned().collect();
        // Events that come with a gap are received before those that cite them.
        let waiting: BTreeSet<&str> = self
            .outliers
            .events
            .iter()
            .chain(&self.main.events)
            .map(|event| event.event_id.as_str())
            .collect();
        let (again, first): (BTreeSet<String>, BTreeSet<String>) = wanted
            .into_iter()
            .filter(|id| !self.unavailable.events.contains_key(id) && !waiting.contains(id.as_str()))
            .partition(|id| self.outlier_ids.contains(id));
        // It was fetched, and was not stored.
        for id in again {
            let reason = lost(format!("{id} cannot be taken in"));
            self.unavailable.events.insert(id, reason);
        }
        first
    }

    /// Fetches events one by one, and notes those that are unavailable.
    async fn fetch_singles(&mut self, wanted: BTreeSet<String>) -> Result<(), ApiError> {
        let (found, missing) = self.singles(wanted).await?;
        self.unavailable.events.extend(missing);
        self.add_outliers(found, None).await
    }

    async fn singles(
        &mut self,
        wanted: BTreeSet<String>,
    ) -> Result<(Vec<Open>, BTreeMap<String, Unavailable>), ApiError> {
        let mut missing = BTreeMap::new();
        let mut asked = Vec::new();
        for id in wanted {
            if self.budget.singles.take() {
                asked.push(id);
            } else {
                let reason = lost(format!("{id} is over the limit of single events"));
                missing.insert(id, reason);
            }
        }
        let this = &*self;
        let answers: Vec<(String, Fetched<Open>)> = stream::iter(asked)
            .map(|id| async move {
                let path = format!("/_matrix/federation/v1/event/{}", encode(&id));
                let read = |answer| {
                    let mut events = this.read_events(&answer, "pdus")?;
                    events.retain(|event| event.event_id == id);
                    events.pop()
                };
                let answer = this.ask(&path, None, MAX_EVENT, read).await;
                (id, answer)
            })
            .buffer_unordered(PARALLEL)
            .collect()
            .await;
        let mut found = Vec::new();
        for (id, answer) in answers {
            match answer? {
                Ok(event) => found.push(event),
                Err(why) => {
                    let reason = format!("{id} cannot be fetched: {}", why.reason);
                    missing.insert(id, Unavailable { reason, later: why.later });
                }
            }
        }
        Ok((found, missing))
    }

    /// Adds unknown events to the outliers: all of them or, if `wanted` is given, the wanted ones and their
    /// auth chains.
    async fn add_outliers(
        &mut self,
        events: Vec<Open>,
        wanted: Option<&BTreeSet<String>>,
    ) -> Result<(), ApiError> {
        let mut by_id: BTreeMap<String, Open> =
            events.into_iter().map(|event| (event.event_id.clone(), event)).collect();
        if let Some(wanted) = wanted {
            let mut open: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let mut needed = BTreeSet::new();
            while let Some(id) = open.pop() {
                if let Some(event) = by_id.get(id)
                    && needed.insert(id.to_owned())
                {
                    open.extend(event.auth_events.iter().map(String::as_str));
                }
            }
            by_id.retain(|id, _| needed.contains(id));
        }
        let ids: Vec<&str> = by_id.keys().map(String::as_str).collect();
        let unknown = self.surroundings.unknown(&ids).await?;
        for (id, event) in by_id {
            if unknown.contains(&id) && !self.outlier_ids.contains(&id) && self.budget.event(event.text.len())
            {
                self.outlier_ids.insert(id);
                self.outliers.events.push(event);
            }
        }
        Ok(())
    }

    /// Fetches the events of the timeline between the stored ones and those of the batch.
    async fn fetch_prev_events(&mut self) -> Result<(), ApiError> {
        let is_open = |id: &&String| {
            !self.given_up.prev_events.contains(*id)
                && !self.unavailable.events.contains_key(*id)
                && !self.main_ids.contains(*id)
        };
        let wanting = |event: &&Open| event.needs.prev_events.iter().any(|id| is_open(&id));
        let after: Vec<String> =
            self.main.events.iter().filter(wanting).map(|event| event.event_id.clone()).collect();
        let prev_events = self.main.events.iter().flat_map(|event| &event.needs.prev_events);
        let mut wanted: BTreeSet<String> = prev_events.filter(is_open).cloned().collect();
        self.give_up_lost_prev_events();
        if wanted.is_empty() {
            return Ok(());
        }
        if self.kind == Kind::Backfilled {
            self.given_up.prev_events.extend(wanted);
            return Ok(());
        }
        self.take_staged(&mut wanted).await?;
        let Ends { forward_extremities, first_depth } = self.surroundings.ends(self.room_id).await?;
        self.leave_earlier_events(&mut wanted, first_depth);
        if wanted.is_empty() {
            return Ok(());
        }
        if !self.budget.gaps.take() {
            let origin = self.servers.first();
            info!(
                room_id = self.room_id,
                origin,
                limit = "gap",
                missing = wanted.len(),
                "a gap is passed over"
            );
            crate::base::metrics::federation_limit("gap");
            self.given_up.prev_events.extend(wanted);
            return Ok(());
        }
        let body = json!({
            "earliest_events": forward_extremities.iter().take(GAP_ENDS).collect::<Vec<_>>(),
            "latest_events": after.iter().take(GAP_ENDS).collect::<Vec<_>>(),
            "limit": GAP_EVENTS,
            "min_depth": first_depth,
        });
        let path = format!("/_matrix/federation/v1/get_missing_events/{}", encode(self.room_id));
        let read = |answer| self.read_events(&answer, "events").filter(|events| !events.is_empty());
        if let Ok(events) = self.ask(&path, Some(&body), MAX_GAP, read).await? {
            for event in events.into_iter().take(GAP_EVENTS) {
                wanted.remove(&event.event_id);
                self.add_to_main(event);
            }
        }
        // Those that are auth events too may come with an auth chain, which is asked for next.
        let needed = self.main.events.iter().flat_map(|event| &event.needs.events);
        let needed: BTreeSet<&String> = needed.collect();
        wanted.retain(|id| !needed.contains(id));
        let over = wanted.iter().nth(GAP_SINGLES).cloned().map(|id| wanted.split_off(&id));
        self.given_up.prev_events.extend(over.into_iter().flatten());
        let (found, missing) = self.singles(wanted).await?;
        self.unavailable.events.extend(missing);
        found.into_iter().for_each(|event| self.add_to_main(event));
        Ok(())
    }

    /// Uses staged events of other servers among the wanted ones, and repeats that for the previous events of
    /// those, as a long chain may be staged.
    async fn take_staged(&mut self, wanted: &mut BTreeSet<String>) -> Result<(), ApiError> {
        let mut named: BTreeSet<String> = wanted.clone();
        while !named.is_empty() {
            let ids: Vec<&str> = named.iter().map(String::as_str).collect();
            let staged = self.surroundings.staged(self.room_id, &ids).await?;
            named.clear();
            for (origin, json) in staged {
                // Its signatures are not checked yet: a server other than the sender's could have sent a
                // forgery.
                let is_own = serde_json::from_str::<Sent>(&json)
                    .is_ok_and(|sent| server_name(&sent.sender) == Some(&origin));
                let event = is_own.then(|| Open::read(self.version, self.room_id, json).ok()).flatten();
                if let Some(event) = event {
                    wanted.remove(&event.event_id);
                    named.extend(event.prev_events.iter().cloned());
                    self.add_to_main(event);
                }
            }
            named.retain(|id| !self.main_ids.contains(id));
            if !named.is_empty() {
                named =
                    self.surroundings.unknown(&named.iter().map(String::as_str).collect::<Vec<_>>()).await?;
            }
        }
        Ok(())
    }

    /// Gives up events from before this server joined: they are history, and not needed for an event that
    /// forks off there.
    fn leave_earlier_events(&mut self, wanted: &mut BTreeSet<String>, first_depth: i64) {
        let later = self.main.events.iter().filter(|event| event.depth > first_depth);
        let later: BTreeSet<&String> = later.flat_map(|event| &event.needs.prev_events).collect();
        self.given_up.prev_events.extend(wanted.extract_if(.., |id| !later.contains(id)));
    }

    /// Gives up previous events that were fetched and are still missing.
    fn give_up_lost_prev_events(&mut self) {
        let waiting: BTreeSet<&str> = self.main.events.iter().map(|event| event.event_id.as_str()).collect();
        let prev_events = self.main.events.iter().flat_map(|event| &event.needs.prev_events);
        let is_lost = |id: &&String| self.main_ids.contains(*id) && !waiting.contains(id.as_str());
        let given_up: Vec<String> = prev_events.filter(is_lost).cloned().collect();
        self.given_up.prev_events.extend(given_up);
    }

    fn add_to_main(&mut self, event: Open) {
        if !self.main_ids.contains(&event.event_id) && self.budget.event(event.text.len()) {
            self.main_ids.insert(event.event_id.clone());
            self.main.events.push(event);
        }
    }

    /// Fetches the states before events whose previous events are unavailable.
    async fn fetch_states(&mut self) -> Result<(), ApiError> {
        let wanting = |event: &&Open| event.needs.state && !self.states.contains_key(&event.event_id);
        let wanted: Vec<String> =
            self.main.events.iter().filter(wanting).map(|event| event.event_id.clone()).collect();
        for event_id in wanted {
            if let Err(why) = self.fetch_state(&event_id).await? {
                self.unavailable.states.insert(event_id, why);
            }
        }
        Ok(())
    }

    pub(super) async fn fetch_state(&mut self, event_id: &str) -> Fetched<()> {
        if !self.budget.states.take() {
            info!(
                room_id = self.room_id,
                origin = self.servers.first(),
                limit = "states",
                "events need too much"
            );
            crate::base::metrics::federation_limit("states");
            return Ok(Err(lost("too many states are missing")));
        }
        let (room, event) = (encode(self.room_id), encode(event_id));
        let path = format!("/_matrix/federation/v1/state_ids/{room}?event_id={event}");
        let read = |answer: RawObject| {
            let state = event_ids(&answer, "pdu_ids");
            (!state.is_empty()).then(|| (state, event_ids(&answer, "auth_chain_ids")))
        };
        if let Ok((state, chain)) = self.ask(&path, None, MAX_IDS, read).await? {
            let ids: Vec<&str> = state.iter().chain(&chain).map(String::as_str).collect();
            let mut unknown = self.surroundings.unknown(&ids).await?;
            unknown.retain(|id| !self.outlier_ids.contains(id) && !self.unavailable.events.contains_key(id));
            if unknown.len() <= STATE_SINGLES {
                self.fetch_singles(unknown).await?;
                let passing = |id: &String| self.unavailable.events.get(id).filter(|why| why.later);
                if let Some(why) = state.iter().find_map(passing) {
                    return Ok(Err(why.clone()));
                }
                self.states.insert(event_id.to_owned(), state);
                return Ok(Ok(()));
            }
        }
        let path = format!("/_matrix/federation/v1/state/{room}?event_id={event}");
        let named = self.servers.len();
        let servers: Vec<String> = self.servers.iter().chain(self.others().await?).cloned().collect();
        let mut why = lost("there is no server to ask");
        for (index, server) in servers.iter().enumerate() {
            let is_other = index >= named;
            if is_other && !self.budget.others.take() {
                break;
            }
            let lack = match self.ask_for_state(server, event_id, &path).await? {
                Ok(()) => return Ok(Ok(())),
                Err(lack) => lack,
            };
            if !is_other {
                why = Unavailable { later: why.later || lack.later, ..lack };
            }
        }
        Ok(Err(why))
    }

    /// Downloads the whole state before an event from one server.
    async fn ask_for_state(&mut self, server: &str, event_id: &str, path: &str) -> Fetched<()> {
        if let Some(reason) = self.silent().get(server) {
            return Ok(Err(Unavailable { reason: reason.clone(), later: true }));
        }
        // A slow server must leave time for the next one.
        let time = self.budget.time_left() / 2;
        let request = Request {
            method: Method::GET,
            destination: server,
            path,
            body: None,
            max_answer: MAX_ANSWER,
            timeout: ANSWER_TIMEOUT.min(time),
        };
        match self.surroundings.download_state(self.room_id, self.version, request, time).await {
            Ok(state) if !state.is_empty() => {
                self.states.insert(event_id.to_owned(), state);
                Ok(Ok(()))
            }
            Ok(_) => Ok(Err(lost(format!("{server} does not have it")))),
            Err(error) => Ok(Err(self.failed(server, path, error)?)),
        }
    }

    /// The events of the room in an answer. Values that are none are skipped.
    fn read_events(&self, answer: &RawObject, key: &str) -> Option<Vec<Open>> {
        let read = |event: &RawValue| Open::read(self.version, self.room_id, event.get().to_owned()).ok();
        Some(answer.items(key)?.into_iter().filter_map(read).collect())
    }
}
