//! Tests of the intake loop with a fake database and fake servers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::http::StatusCode;
use futures_util::future::BoxFuture;
use matriarch_rules::{RoomVersion, room_version};
use matriarch_wire::{Reports, Verdict};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::batch::{Batch, Kind, Taken, Unavailable};
use super::pool::Open;
use super::surroundings::{Ends, Part, Surroundings};
use super::{Intake, take_in_from};
use crate::base::error::ApiError;
use crate::base::raw_object::RawObject;
use crate::federation::http_client::{FederationError, Request};

const ROOM: &str = "!room:here.example";
const ORIGIN: &str = "origin.example";
const MISSING: &str = "get_missing_events";

/// The answer of a fake server to a path and a body.
type Answers = dyn Fn(&str, &str, Option<&Value>) -> Answered + Send + Sync;

type Answered = Result<Value, FederationError>;

/// A fake database, which only needs what events cite, and fake servers, which answer by a function.
struct World {
    stored: Mutex<BTreeSet<String>>,
    /// Servers whose keys are known or can be fetched.
    keys: BTreeSet<&'static str>,
    fetched_keys: Mutex<Vec<String>>,
    /// Whether the policy server signs.
    signs: bool,
    staged: Vec<(&'static str, Pdu)>,
    others: Vec<String>,
    answers: Box<Answers>,
    /// Servers and paths that were asked.
    asked: Mutex<Vec<(String, String)>>,
    /// The kinds and ids of stored events, in order.
    order: Mutex<Vec<(Kind, String)>>,
}

/// An event as its own server created it.
#[derive(Clone, Debug)]
struct Pdu {
    id: String,
    json: Value,
}

fn version() -> &'static RoomVersion {
    room_version("11").expect("a room version")
}

/// An event with these previous events and auth events. `changes` replaces keys of it.
fn pdu(name: &str, prev: &[&Pdu], auth: &[&Pdu], changes: Value) -> Pdu {
    let ids = |pdus: &[&Pdu]| pdus.iter().map(|pdu| pdu.id.clone()).collect::<Vec<_>>();
    let depth = prev.iter().filter_map(|pdu| pdu.json["depth"].as_i64()).max().unwrap_or_default() + 1;
    // The event id ignores content that redaction removes, so `origin_server_ts` makes events with different
    // names differ.
    let time = name.bytes().fold(0_u32, |time, byte| time.wrapping_mul(31).wrapping_add(byte.into()));
    let mut json = json!({
        "type": "m.room.message", "room_id": ROOM, "sender": format!("@user:{ORIGIN}"), "depth": depth,
        "origin_server_ts": time, "prev_events": ids(prev), "auth_events": ids(auth),
        "content": {"body": name},
        "hashes": {"sha256": ""}, "signatures": {},
    });
    if let (Some(json), Value::Object(changes)) = (json.as_object_mut(), changes) {
        json.extend(changes);
    }
    let id =
        Open::read(version(), ROOM, json.to_string()).map_or_else(|_| String::new(), |open| open.event_id);
    Pdu { id, json }
}

fn message(name: &str, prev: &[&Pdu], auth: &[&Pdu]) -> Pdu {
    pdu(name, prev, auth, json!({}))
}

fn refused(server: &str) -> FederationError {
    FederationError::Refused {
        server: server.to_owned(),
        status: StatusCode::NOT_FOUND,
        errcode: "M_NOT_FOUND".to_owned(),
        error: "Not here.".to_owned(),
        extra: Map::new(),
    }
}

fn unreachable(server: &str) -> FederationError {
    FederationError::Unreachable { server: server.to_owned(), reason: "it is away".to_owned() }
}

impl World {
    /// A database that has some events, and servers that answer 404.
    fn new(stored: &[&Pdu]) -> Self {
        Self {
            stored: Mutex::new(stored.iter().map(|pdu| pdu.id.clone()).collect()),
            keys: [ORIGIN].into(),
            fetched_keys: Mutex::default(),
            signs: true,
            staged: Vec::new(),
            others: Vec::new(),
            answers: Box::new(|server, _, _| Err(refused(server))),
            asked: Mutex::default(),
            order: Mutex::default(),
        }
    }

    fn answering(
        self,
        answers: impl Fn(&str, &str, Option<&Value>) -> Answered + Send + Sync + 'static,
    ) -> Self {
        Self { answers: Box::new(answers), ..self }
    }

    /// The servers also have these events, one by one.
    fn having(self, events: &[&Pdu]) -> Self {
        let events: BTreeMap<String, Value> =
            events.iter().map(|pdu| (encoded(&pdu.id), pdu.json.clone())).collect();
        self.answering(move |server, path, _| {
            let event = path.rsplit('/').next().and_then(|id| events.get(id));
            event.map(|event| json!({"pdus": [event]})).ok_or_else(|| refused(server))
        })
    }

    async fn take_in(&self, kind: Kind, pdus: &[&Pdu]) -> Vec<Taken> {
        self.take_in_texts(kind, pdus.iter().map(|pdu| pdu.json.to_string()).collect()).await
    }

    async fn take_in_texts(&self, kind: Kind, pdus: Vec<String>) -> Vec<Taken> {
        let servers = [ORIGIN.to_owned()];
        let states = BTreeMap::new();
        let batch = Batch { room_id: ROOM, room_version: "11", kind, servers: &servers, pdus, states };
        take_in_from(self, batch).await.expect("the database is there")
    }

    /// How often an endpoint was asked for, of any server.
    fn count(&self, endpoint: &str) -> usize {
        let part = format!("/{endpoint}/");
        self.asked.lock().iter().filter(|(_, path)| path.contains(&part)).count()
    }

    fn has(&self, pdu: &Pdu) -> bool {
        self.stored.lock().contains(&pdu.id)
    }

    /// What an event needs, as `receive_pdus` reports it; nothing if it is stored now.
    fn judge(&self, part: &Part<'_>, text: &str) -> Value {
        let Ok(open) = Open::read(part.version, part.room_id, text.to_owned()) else {
            return json!({"verdict": "refused", "reason": "it is no event"});
        };
        let json: Value = serde_json::from_str(text).expect("it was read");
        let mut stored = self.stored.lock();
        let missing = |ids: &[String]| -> Vec<String> {
            ids.iter().filter(|id| !stored.contains(*id)).cloned().collect()
        };
        let sender =
            json["sender"].as_str().and_then(|user| user.split_once(':')).map_or("", |(_, name)| name);
        let lacks_keys = sender != ORIGIN && !self.fetched_keys.lock().iter().any(|server| server == sender);
        if lacks_keys && part.given_up.keys.contains(sender) {
            return json!({"verdict": "refused", "reason": "its signature cannot be checked"});
        }
        let mut events = missing(&open.auth_events);
        let mut needs = json!({});
        if part.kind != Kind::Outlier {
            let missing_prev = missing(&open.prev_events);
            let given_up = &part.given_up.prev_events;
            let open_prev: Vec<&String> = missing_prev.iter().filter(|id| !given_up.contains(*id)).collect();
            match part.states.get(open.event_id.as_str()) {
                Some(state) => events.extend(missing(state)),
                None if !open_prev.is_empty() => needs["prev_events"] = json!(open_prev),
                None if !missing_prev.is_empty() => needs["state"] = json!(true),
                None => {}
            }
        }
        if lacks_keys {
            needs["keys"] = json!([[sender, "ed25519:1"]]);
        }
        if !events.is_empty() {
            needs["events"] = json!(events);
        }
        let is_policed = json["content"]["policed"] == true && json["signatures"].get("policy").is_none();
        if is_policed && !part.given_up.policy_signatures.contains(&open.event_id) {
            needs["policy_server"] = json!("policy.example");
        }
        if needs != json!({}) {
            return json!({"verdict": "needs", "needs": needs});
        }
        if stored.insert(open.event_id.clone()) {
            self.order.lock().push((part.kind, open.event_id));
        }
        json!({"verdict": if part.kind == Kind::Outlier { "outlier" } else { "accepted" }})
    }
}

fn encoded(id: &str) -> String {
    crate::base::percent::encode(id).to_string()
}

impl Surroundings for World {
    async fn receive(&self, part: Part<'_>) -> Result<Reports, ApiError> {
        let reports: Vec<Value> = part.texts.iter().map(|text| self.judge(&part, text)).collect();
        serde_json::from_value(json!({"pdus": reports})).map_err(|_| ApiError::internal())
    }

    async fn unknown(&self, event_ids: &[&str]) -> Result<BTreeSet<String>, ApiError> {
        let stored = self.stored.lock();
        Ok(event_ids.iter().filter(|id| !stored.contains(**id)).map(|id| (*id).to_owned()).collect())
    }

    async fn staged(&self, _: &str, event_ids: &[&str]) -> Result<Vec<(String, String)>, ApiError> {
        let named = self.staged.iter().filter(|(_, pdu)| event_ids.contains(&pdu.id.as_str()));
        Ok(named.map(|(origin, pdu)| ((*origin).to_owned(), pdu.json.to_string())).collect())
    }

    async fn ends(&self, _: &str) -> Result<Ends, ApiError> {
        Ok(Ends::default())
    }

    async fn servers(&self, _: &str, _: &str, limit: i32) -> Result<Vec<String>, ApiError> {
        let limit = usize::try_from(limit).unwrap_or_default();
        Ok(self.others.iter().take(limit).cloned().collect())
    }

    fn timeout(&self) -> Duration {
        Duration::from_secs(1)
    }

    async fn ask<T: Send>(
        &self,
        request: Request<'_>,
        read: impl FnOnce(RawObject) -> T + Send,
    ) -> Option<Result<T, FederationError>> {
        self.asked.lock().push((request.destination.to_owned(), request.path.to_owned()));
        let answer = (self.answers)(request.destination, request.path, request.body);
        Some(answer.map(|answer| read(RawObject::parse(answer.to_string()).unwrap_or_default())))
    }

    async fn fetch_keys(&self, server: &str) -> Result<(), String> {
        self.asked.lock().push((server.to_owned(), "/keys/".to_owned()));
        if !self.keys.contains(server) {
            return Err(format!("{server} gives no keys"));
        }
        self.fetched_keys.lock().push(server.to_owned());
        Ok(())
    }

    async fn sign(&self, server: &str, event: &mut Map<String, Value>) -> Result<(), FederationError> {
        self.asked.lock().push((server.to_owned(), "/sign/".to_owned()));
        if !self.signs {
            return Err(refused(server));
        }
        event.insert("signatures".to_owned(), json!({"policy": {"ed25519:1": "yes"}}));
        Ok(())
    }

    fn download_state<'a>(
        &'a self,
        _: &'a str,
        _: &'static RoomVersion,
        request: Request<'a>,
        _: Duration,
    ) -> BoxFuture<'a, Result<Vec<String>, FederationError>> {
        self.asked.lock().push((request.destination.to_owned(), request.path.to_owned()));
        let answer = (self.answers)(request.destination, request.path, None).map(|answer| {
            let ids = answer["pdu_ids"].as_array().into_iter().flatten();
            let ids: Vec<String> = ids.filter_map(Value::as_str).map(str::to_owned).collect();
            self.stored.lock().extend(ids.iter().cloned());
            ids
        });
        Box::pin(async { answer })
    }
}

fn verdicts(taken: &[Taken]) -> Vec<&Verdict> {
    taken.iter().map(|taken| taken.verdict.as_ref().expect("it was judged")).collect()
}

/// Why an event was not stored, and whether it may be later.
fn lack(taken: &Taken) -> (&str, bool) {
    match &taken.verdict {
        Err(Unavailable { reason, later }) => (reason, *later),
        other => panic!("it was {other:?}"),
    }
}

#[tokio::test]
async fn what_needs_nothing_is_taken_in_at_once() {
    let create = message("create", &[], &[]);
    let first = message("first", &[&create], &[&create]);
    let second = message("second", &[&first], &[&create]);
    let world = World::new(&[&create]);
    // The batch is in any order: cited events are stored first.
    let taken = world.take_in(Kind::Live, &[&second, &first]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted, &Verdict::Accepted]);
    assert_eq!(taken[0].event_id.as_deref(), Some(second.id.as_str()));
    assert_eq!(*world.order.lock(), [(Kind::Live, first.id), (Kind::Live, second.id)]);
    assert_eq!(*world.asked.lock(), []);
}

#[tokio::test]
async fn what_is_no_event_is_refused_and_keeps_back_nobody() {
    let create = message("create", &[], &[]);
    let good = message("good", &[&create], &[&create]);
    let elsewhere = pdu("elsewhere", &[&create], &[&create], json!({"room_id": "!other:here.example"}));
    let many: Vec<String> = (0..21).map(|number| format!("${number}")).collect();
    let mut texts = vec![
        String::new(),
        "{".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "{}".to_owned(),
        "[".repeat(100_000),
        r#"{"type": "m.room.message", "type": "m.room.member"}"#.to_owned(),
        elsewhere.json.to_string(),
    ];
    for changes in [
        json!({"prev_events": ["$a\u{0}"]}),
        json!({"auth_events": ["\u{0}"]}),
        json!({"prev_events": many}),
        json!({"auth_events": 7}),
        json!({"depth": -1}),
        json!({"depth": 1e300}),
        json!({"sender": 1}),
        json!({"room_id": null}),
        json!({"content": "x".repeat(70_000)}),
    ] {
        texts.push(pdu("bad", &[&create], &[&create], changes).json.to_string());
    }
    texts.push(good.json.to_string());
    let world = World::new(&[&create]);
    let taken = world.take_in_texts(Kind::Live, texts).await;
    let (last, bad) = taken.split_last().expect("there are some");
    for taken in bad {
        assert!(
            taken.event_id.is_none() && matches!(taken.verdict, Ok(Verdict::Refused { .. })),
            "{taken:?}"
        );
    }
    assert_eq!((last.event_id.as_deref(), &last.verdict), (Some(good.id.as_str()), &Ok(Verdict::Accepted)));
}

#[tokio::test]
async fn an_event_that_comes_twice_is_stored_once() {
    let create = message("create", &[], &[]);
    let event = message("event", &[&create], &[&create]);
    let world = World::new(&[&create]);
    let taken = world.take_in(Kind::Live, &[&event, &event]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted, &Verdict::Accepted]);
    assert_eq!(world.order.lock().len(), 1);
}

#[tokio::test]
async fn auth_events_come_with_one_chain_and_before_the_event() {
    let create = message("create", &[], &[]);
    let member = message("member", &[], &[&create]);
    let levels = message("levels", &[], &[&create, &member]);
    let stranger = message("stranger", &[], &[]);
    let event = message("event", &[&create], &[&create, &levels]);
    let chain = json!({"auth_chain": [levels.json, stranger.json, member.json]});
    let world = World::new(&[&create]).answering(move |_, _, _| Ok(chain.clone()));
    let taken = world.take_in(Kind::Live, &[&event]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert_eq!((world.count("event_auth"), world.asked.lock().len()), (1, 1));
    // Events that the event does not cite are not kept.
    let stored = world.order.lock().clone();
    assert_eq!(stored, [(Kind::Outlier, member.id), (Kind::Outlier, levels.id), (Kind::Live, event.id)]);
}

#[tokio::test]
async fn without_its_auth_events_an_event_is_not_stored() {
    let create = message("create", &[], &[]);
    let lost = message("lost", &[], &[]);
    let event = message("event", &[&create], &[&create, &lost]);
    let after = message("after", &[&event], &[&create, &event]);
    let world = World::new(&[&create]);
    let taken = world.take_in(Kind::Live, &[&event, &after]).await;
    // Nor is an event kept that cites the event as its auth event.
    for (taken, missing) in taken.iter().zip([&lost, &event]) {
        let (reason, later) = lack(taken);
        assert!(reason.contains(&missing.id) && reason.contains("404") && !later, "{reason}");
    }
    assert!(!world.has(&event) && !world.has(&after));
    // It was requested once by itself, after its chain.
    let path = format!("/_matrix/federation/v1/event/{}", encoded(&lost.id));
    assert_eq!(world.asked.lock().iter().filter(|(_, asked)| *asked == path).count(), 1);
}

#[tokio::test]
async fn a_server_that_is_away_is_asked_once_and_its_events_may_come_later() {
    let create = message("create", &[], &[]);
    let lost: Vec<Pdu> = (0..5).map(|number| message(&format!("lost {number}"), &[], &[])).collect();
    let events: Vec<Pdu> = lost.iter().map(|lost| message(&lost.id, &[&create], &[&create, lost])).collect();
    let world = World::new(&[&create]).answering(|server, _, _| Err(unreachable(server)));
    let taken = world.take_in(Kind::Live, &events.iter().collect::<Vec<_>>()).await;
    for taken in &taken {
        let (reason, later) = lack(taken);
        assert!(reason.contains("it is away") && later, "{reason}");
    }
    assert_eq!(world.asked.lock().len(), 1);
}

#[tokio::test]
async fn others_in_the_room_help_out() {
    let create = message("create", &[], &[]);
    let auth = message("auth", &[], &[]);
    let event = message("event", &[&create], &[&create, &auth]);
    let (id, json) = (encoded(&auth.id), auth.json.clone());
    let mut world = World::new(&[&create]).answering(move |server, path, _| match server {
        "helper.example" if path.ends_with(&id) => Ok(json!({"pdus": [json]})),
        _ => Err(refused(server)),
    });
    // The origin is not asked again as one of the others.
    world.others = [ORIGIN, "idle.example", "helper.example"].map(str::to_owned).into();
    let taken = world.take_in(Kind::Live, &[&event]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    let asked = world.asked.lock();
    assert_eq!(asked.iter().filter(|(server, _)| server == "helper.example").count(), 2);
    assert_eq!(asked.iter().filter(|(server, _)| server == ORIGIN).count(), 2);
}

#[tokio::test]
async fn answers_that_are_nonsense_bring_nothing() {
    let create = message("create", &[], &[]);
    let auth = message("auth", &[], &[]);
    let other = message("other", &[], &[]);
    let elsewhere = pdu("auth", &[], &[], json!({"room_id": "!other:here.example"}));
    let event = message("event", &[&create], &[&create, &auth]);
    for events in [
        json!(null),
        json!(7),
        json!("x"),
        json!({}),
        json!([]),
        json!([null, 7, "x", [], {}]),
        json!([{"type": "m.room.message"}, {"prev_events": "\u{0}"}]),
        json!([elsewhere.json]),
        json!([other.json]),
    ] {
        let answer = json!({"auth_chain": events, "pdus": events, "events": events, "pdu_ids": events});
        let world = World::new(&[&create]).answering(move |_, _, _| Ok(answer.clone()));
        let taken = world.take_in(Kind::Live, &[&event]).await;
        let (reason, later) = lack(&taken[0]);
        assert!(reason.contains("does not have it") && !later, "{events}: {reason}");
        assert!(world.order.lock().is_empty() && world.asked.lock().len() <= 3, "{events}");
    }
}

#[tokio::test]
async fn a_chain_without_end_comes_to_a_limit() {
    let create = message("create", &[], &[]);
    // Each event cites another one, in a chain longer than the budget.
    let mut chain = vec![message("0", &[], &[])];
    for number in 1..200 {
        let next = message(&number.to_string(), &[], &[&chain[number - 1]]);
        chain.push(next);
    }
    let event = message("event", &[&create], &[&create, &chain[199]]);
    let world = World::new(&[&create]).having(&chain.iter().collect::<Vec<_>>());
    let taken = world.take_in(Kind::Live, &[&event]).await;
    let (reason, later) = lack(&taken[0]);
    assert!(reason.contains("the limit of rounds") && !later, "{reason}");
    assert!(world.asked.lock().len() < 100);
    assert!(!world.has(&event));
}

#[tokio::test]
async fn a_gap_is_filled() {
    let create = message("create", &[], &[]);
    let mut chain = vec![message("0", &[&create], &[&create])];
    for number in 1..10 {
        let next = message(&number.to_string(), &[&chain[number - 1]], &[&create]);
        chain.push(next);
    }
    let last = chain.pop().expect("there are some");
    let answer = json!({"events": chain.iter().map(|pdu| &pdu.json).collect::<Vec<_>>()});
    let world = World::new(&[&create]).answering(move |_, _, _| Ok(answer.clone()));
    let taken = world.take_in(Kind::Live, &[&last]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert_eq!((world.count(MISSING), world.asked.lock().len()), (1, 1));
    assert_eq!(world.order.lock().len(), 10);
}

#[tokio::test]
async fn a_gap_without_end_is_passed_over_by_a_state() {
    let create = message("create", &[], &[]);
    let mut chain = vec![message("0", &[], &[&create])];
    for number in 1..100 {
        let next = message(&number.to_string(), &[&chain[number - 1]], &[&create]);
        chain.push(next);
    }
    let last = chain.pop().expect("there are some");
    let by_id: BTreeMap<String, Pdu> = chain.iter().map(|pdu| (pdu.id.clone(), pdu.clone())).collect();
    let all: BTreeMap<String, Pdu> =
        chain.iter().chain([&last]).map(|pdu| (pdu.id.clone(), pdu.clone())).collect();
    let state = create.id.clone();
    let world = World::new(&[&create]).answering(move |server, path, body| {
        if path.contains("/state_ids/") {
            return Ok(json!({"pdu_ids": [state], "auth_chain_ids": []}));
        }
        // Each request returns one event: a previous event of the earliest one named.
        let named = body.and_then(|body| body["latest_events"].as_array()).ok_or_else(|| refused(server))?;
        let before = |id: &Value| all.get(id.as_str()?)?.json["prev_events"][0].as_str().map(str::to_owned);
        let events = named.iter().filter_map(before).filter_map(|id| by_id.get(&id));
        Ok(json!({"events": events.map(|pdu| &pdu.json).collect::<Vec<_>>()}))
    });
    let taken = world.take_in(Kind::Live, &[&last]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert_eq!((world.count(MISSING), world.count("state_ids")), (20, 1));
    assert_eq!(world.order.lock().len(), 21);
}

#[tokio::test]
async fn more_than_was_asked_for_is_not_kept() {
    let create = message("create", &[], &[]);
    let missing = message("missing", &[&create], &[&create]);
    let last = message("last", &[&missing], &[&create]);
    let mut events = vec![missing.json.clone()];
    events.extend((0..1000).map(|number| message(&number.to_string(), &[&create], &[&create]).json));
    let answer = json!({"events": events});
    let world = World::new(&[&create]).answering(move |_, _, _| Ok(answer.clone()));
    let taken = world.take_in(Kind::Live, &[&last]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert_eq!(world.order.lock().len(), 101);
}

#[tokio::test]
async fn what_is_missing_before_history_is_not_asked_for() {
    let create = message("create", &[], &[]);
    let missing = message("missing", &[&create], &[&create]);
    let old = message("old", &[&missing], &[&create]);
    let state = create.id.clone();
    let world = World::new(&[&create])
        .answering(move |_, _, _| Ok(json!({"pdu_ids": [state], "auth_chain_ids": []})));
    let taken = world.take_in(Kind::Backfilled, &[&old]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert_eq!((world.count(MISSING), world.count("event"), world.count("state_ids")), (0, 0, 1));
}

#[tokio::test]
async fn a_state_that_nobody_gives_loses_the_event() {
    let create = message("create", &[], &[]);
    let missing = message("missing", &[&create], &[&create]);
    let old = message("old", &[&missing], &[&create]);
    for (away, is_later) in [(false, false), (true, true)] {
        let world = World::new(&[&create])
            .answering(move |server, _, _| Err(if away { unreachable(server) } else { refused(server) }));
        let taken = world.take_in(Kind::Backfilled, &[&old]).await;
        assert_eq!(lack(&taken[0]).1, is_later);
        assert!(!world.has(&old));
    }
}

#[tokio::test]
async fn states_are_asked_for_so_often_and_no_more() {
    let create = message("create", &[], &[]);
    let events: Vec<Pdu> = (0..30)
        .map(|number| {
            let missing = message(&format!("missing {number}"), &[], &[]);
            message(&number.to_string(), &[&missing], &[&create])
        })
        .collect();
    let state = create.id.clone();
    let world = World::new(&[&create])
        .answering(move |_, _, _| Ok(json!({"pdu_ids": [state], "auth_chain_ids": []})));
    let taken = world.take_in(Kind::Backfilled, &events.iter().collect::<Vec<_>>()).await;
    let accepted = taken.iter().filter(|taken| taken.verdict == Ok(Verdict::Accepted)).count();
    assert_eq!((accepted, world.count("state_ids")), (20, 20));
    let lost = taken.iter().filter(|taken| taken.verdict != Ok(Verdict::Accepted));
    assert!(lost.map(lack).all(|(reason, later)| reason.contains("too many states") && !later));
}

#[tokio::test]
async fn a_given_state_does_without_what_cannot_be_had() {
    let create = message("create", &[], &[]);
    let lost = message("lost", &[], &[]);
    let before = message("before", &[], &[&create]);
    let event = message("event", &[&before], &[&create]);
    let servers = [ORIGIN.to_owned()];
    let states = BTreeMap::from([(event.id.clone(), vec![create.id.clone(), lost.id.clone()])]);
    let world = World::new(&[&create]);
    let pdus = vec![event.json.to_string()];
    let batch =
        Batch { room_id: ROOM, room_version: "11", kind: Kind::Live, servers: &servers, pdus, states };
    let taken = take_in_from(&world, batch).await.expect("the database is there");
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
}

#[tokio::test]
async fn staged_events_are_taken_up_if_their_own_server_sent_them() {
    let create = message("create", &[], &[]);
    let own = message("own", &[&create], &[&create]);
    let forged = message("forged", &[&create], &[&create]);
    let last = message("last", &[&own, &forged], &[&create]);
    let state = create.id.clone();
    let mut world = World::new(&[&create]).answering(move |server, path, _| {
        let is_state = path.contains("/state_ids/");
        if is_state { Ok(json!({"pdu_ids": [state], "auth_chain_ids": []})) } else { Err(refused(server)) }
    });
    world.staged = vec![(ORIGIN, own.clone()), ("forger.example", forged.clone())];
    let taken = world.take_in(Kind::Live, &[&last]).await;
    assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
    assert!(world.has(&own) && !world.has(&forged));
}

#[tokio::test]
async fn keys_are_fetched_once() {
    let create = message("create", &[], &[]);
    let sent_by = |name: &str, server: &str| {
        pdu(name, &[&create], &[&create], json!({"sender": format!("@user:{server}")}))
    };
    let events = [sent_by("a", "known.example"), sent_by("b", "known.example"), sent_by("c", "gone.example")];
    let mut world = World::new(&[&create]);
    world.keys.insert("known.example");
    let taken = world.take_in(Kind::Live, &events.iter().collect::<Vec<_>>()).await;
    assert_eq!(verdicts(&taken[..2]), [&Verdict::Accepted, &Verdict::Accepted]);
    // The server may be reachable at the next attempt.
    assert_eq!(lack(&taken[2]), ("gone.example gives no keys", true));
    assert_eq!(world.count("keys"), 2);
}

#[tokio::test]
async fn auth_events_of_servers_that_are_gone_hold_up_nobody() {
    let create = message("create", &[], &[]);
    let old = pdu("old", &[], &[&create], json!({"sender": "@user:gone.example"}));
    let event = message("event", &[&create], &[&create, &old]);
    let world = World::new(&[&create]).having(&[&old]);
    let taken = world.take_in(Kind::Live, &[&event]).await;
    // It is refused without its key, and so the event that needs it is not stored.
    let (reason, later) = lack(&taken[0]);
    assert!(reason.contains("its signature cannot be checked") && !later, "{reason}");
    assert_eq!(world.count("keys"), 1);
}

#[tokio::test]
async fn policy_servers_are_asked_once_and_done_without() {
    let create = message("create", &[], &[]);
    let event = pdu("event", &[&create], &[&create], json!({"content": {"policed": true}}));
    for signs in [true, false] {
        let world = World { signs, ..World::new(&[&create]) };
        let taken = world.take_in(Kind::Live, &[&event]).await;
        assert_eq!(verdicts(&taken), [&Verdict::Accepted]);
        assert_eq!(world.count("sign"), 1);
    }
}

#[tokio::test]
async fn time_that_is_up_leaves_events_for_later() {
    let create = message("create", &[], &[]);
    let lost = message("lost", &[], &[]);
    let event = message("event", &[&create], &[&create, &lost]);
    let world = World::new(&[&create]);
    let servers = [ORIGIN.to_owned()];
    let (kind, pdus, states) = (Kind::Live, vec![event.json.to_string()], BTreeMap::new());
    let batch = Batch { room_id: ROOM, room_version: "11", kind, servers: &servers, pdus, states };
    let mut intake = Intake::new(&world, version(), batch);
    intake.budget.deadline = Instant::now();
    assert!(!intake.round().await.expect("the database is there"));
    let taken = intake.finish();
    assert_eq!(lack(&taken[0]), ("what it needs is over the limit of time", true));
    assert_eq!(*world.asked.lock(), []);
}

#[tokio::test]
async fn a_room_version_that_is_not_known_is_an_error() {
    let world = World::new(&[]);
    let (kind, pdus, states) = (Kind::Live, Vec::new(), BTreeMap::new());
    let batch = Batch { room_id: ROOM, room_version: "99", kind, servers: &[], pdus, states };
    let error = take_in_from(&world, batch).await.expect_err("there is no such version");
    assert_eq!(
        (error.status, error.errcode.as_ref()),
        (StatusCode::BAD_REQUEST, "M_UNSUPPORTED_ROOM_VERSION")
    );
}
