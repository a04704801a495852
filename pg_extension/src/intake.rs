//! Intake: remote events are verified, judged and stored in the room's graph and timeline.
//!
//! Spec: [Checks performed on receipt of a
//! PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu). The extension
//! fetches nothing: the response names what an event needs, and the caller calls again with it.

mod given;
mod judge;
mod partial;
mod positions;
mod redaction;
mod rejoin;
pub mod signed;
mod store;
mod verify;
mod writer;

use std::collections::{BTreeSet, HashMap};

use matriarch_rules::{Event, RoomVersion, room_version, topological_order};
use matriarch_wire::{GivenUp, Kind, Report, Reports, States, UnknownKind, Verdict};
use pgrx::{Array, pg_extern};

use self::{given::parse_given_up, judge::Intake, positions::Positions, verify::Pdu};
pub use self::{
    given::{GivenState, parse_states},
    verify::{Keys, Malformed, Unfit, parse},
};
use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        signing::Signer,
        spi::{Db, Mode},
        users,
    },
    room::{Room, authorization::keys_of, graph_events::GraphEvents, state_keys::StateKeys, version_of_room},
};

/// Intake of a batch of PDUs of one room, in any order.
///
/// - `room_version`: creates the room if it does not exist; may be NULL if it does.
/// - `kind`: `live`, `backfilled` or `outlier`; or `relayed`, which is `live` for events that this server
///   sends to the other servers in the room: those of servers that join, leave or knock.
/// - `states`: [`States`] in JSON, the given states of events whose `prev_events` cannot be obtained; may be
///   NULL.
/// - `given_up`: [`GivenUp`] in JSON, what the caller cannot obtain; may be NULL.
///
/// Returns [`Reports`].
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` for another kind, malformed `states` or `given_up`, 404 `M_NOT_FOUND` for an unknown
/// room without version, 400 `M_UNSUPPORTED_ROOM_VERSION`.
#[pg_extern]
fn receive_pdus(
    room_id: &str,
    room_version: Option<&str>,
    kind: &str,
    pdus: Array<'_, &str>,
    states: Option<&str>,
    given_up: Option<&str>,
) -> ResponseRows {
    let pdus: Vec<&str> = pdus.iter().map(Option::unwrap_or_default).collect();
    respond(Mode::Write, |db| {
        let (kind, relay) =
            match kind.parse().map_err(|error: UnknownKind| MatrixError::invalid_param(error.to_string()))? {
                Kind::Relayed => (Kind::Live, true),
                kind => (kind, false),
            };
        let states = parse_states(states)?;
        let given_up = parse_given_up(given_up)?;
        let version = version_of(db, room_id, room_version)?;
        let batch = Batch { relay, ..Batch::verify(db, version, room_id, &pdus, &given_up) };
        let receive = |room: &mut Room<'_>| batch.receive(room, kind, &states, &given_up);
        let created = || {
            let signer = Signer::current(db);
            Room::create(db, signer, room_id, version, false, receive)
        };
        // Another transaction created the room meanwhile and has committed, so the room can be locked now.
        let (answer, wake_rooms, wake_users) = Room::with(db, room_id, receive)
            .or_else(created)
            .or_else(|| Room::with(db, room_id, receive))
            .ok_or_else(|| MatrixError::not_found("The room is not known."))?;
        Ok(Response { wake_rooms, wake_users, ..Response::wire(&answer) })
    })
}

fn version_of(db: &Db<'_>, room_id: &str, given: Option<&str>) -> Result<&'static RoomVersion> {
    let known = version_of_room(db, room_id);
    let id = known.as_deref().or(given).ok_or_else(|| MatrixError::not_found("The room is not known."))?;
    room_version(id).ok_or_else(|| {
        MatrixError::new(400, "M_UNSUPPORTED_ROOM_VERSION", "The room version is not supported.")
    })
}

/// Intake of one new event into a locked room. If it is accepted, this server sends it to the other servers
/// in the room. Returns the verdict, and the room if its members are to be woken.
pub fn receive_one(room: &mut Room<'_>, pdu: &str) -> (Verdict, Option<i64>) {
    let given_up = GivenUp::default();
    let verified = Batch::verify(room.db, room.version, &room.id, &[pdu], &given_up);
    let batch = Batch { relay: true, ..verified };
    let (mut verdicts, woken) = batch.judge(room, Kind::Live, &States::new(), &given_up);
    let verdict = verdicts.pop().unwrap_or_else(|| unreachable!("a verdict for each event"));
    (verdict, woken.then_some(room.nid))
}

/// The PDUs of a call, verified one by one.
struct Batch {
    /// For each PDU its event id, if it could be computed, and its verdict, if it has one before the room is
    /// read.
    reports: Vec<(Option<String>, Option<Verdict>)>,
    pdus: Vec<Pdu>,
    /// Whether accepted events are sent to the other servers in the room.
    relay: bool,
}

impl Batch {
    /// Parses and verifies PDUs. This takes the most time, so no lock is held.
    fn verify(db: &Db<'_>, version: &RoomVersion, room_id: &str, pdus: &[&str], given_up: &GivenUp) -> Self {
        let parsed: Vec<std::result::Result<Event, Malformed>> =
            pdus.iter().map(|pdu| parse(version, room_id, pdu)).collect();
        let keys = Keys::load(db, version, parsed.iter().flatten(), given_up.keys.clone());
        let mut batch = Self {
            reports: Vec::with_capacity(pdus.len()),
            pdus: Vec::with_capacity(pdus.len()),
            relay: false,
        };
        for parsed in parsed {
            let event = match parsed {
                Ok(event) => event,
                Err(malformed) => {
                    batch.reports.push((None, Some(Verdict::refused(malformed.to_string()))));
                    continue;
                }
            };
            let event_id = Some(event.event_id().to_owned());
            match keys.verify(version, event) {
                Ok(pdu) => {
                    batch.pdus.push(pdu);
                    batch.reports.push((event_id, None));
                }
                Err(Unfit::Refused(reason)) => {
                    batch.reports.push((event_id, Some(Verdict::Refused { reason })))
                }
                Err(Unfit::Needs(needs)) => batch.reports.push((event_id, Some(Verdict::Needs { needs }))),
            }
        }
        // If an event occurs in two forms, the form with a valid content hash is used; the other one must be
        // redacted.
        batch.pdus.sort_by_key(|pdu| !pdu.verified.content_hash);
        batch
    }

    /// Judges and stores the events. Returns the response, and the rooms and users to wake.
    fn receive(
        &self,
        room: &mut Room<'_>,
        kind: Kind,
        states: &States,
        given_up: &GivenUp,
    ) -> (Reports, Vec<i64>, Vec<i64>) {
        let (verdicts, woken) = self.judge(room, kind, states, given_up);
        let report = |((event_id, _), verdict): (&(Option<String>, _), _)| Report {
            event_id: event_id.clone(),
            verdict,
        };
        let pdus = self.reports.iter().zip(verdicts).map(report).collect();
        let wake_rooms = woken.then_some(room.nid).into_iter().collect();
        (Reports { pdus }, wake_rooms, std::mem::take(&mut room.wake_users))
    }

    /// Judges and stores the events. Returns a verdict for each PDU, and whether the timeline has new events.
    fn judge(
        &self,
        room: &mut Room<'_>,
        kind: Kind,
        states: &States,
        given_up: &GivenUp,
    ) -> (Vec<Verdict>, bool) {
        let events = GraphEvents::new(room.db);
        let keys = StateKeys::new(room.db, room.nid);
        self.read_ahead(room, &events, &keys);
        let users = self.users(room);
        let refs: Vec<&Event> = self.pdus.iter().map(|pdu| &pdu.event).collect();
        let order = topological_order(&refs);
        let in_graph =
            |event: &Event| events.by_id(event.event_id()).is_some_and(|known| known.is_in_graph());
        let positions = (kind == Kind::Backfilled).then(|| {
            let new: Vec<&Event> =
                order.iter().map(|index| refs[*index]).filter(|event| !in_graph(event)).collect();
            Positions::find(room, &new)
        });
        let mut intake = Intake::new(room, &events, &keys, &users, kind, states, given_up, &self.pdus);
        intake.relay = self.relay;
        intake.positions = positions.unwrap_or_default();
        let mut verdicts: HashMap<&str, Verdict> = HashMap::new();
        for index in order {
            let pdu = &self.pdus[index];
            verdicts.insert(pdu.event.event_id(), intake.receive(pdu));
        }
        let woken = intake.finish();
        let circular = Verdict::refused("the event is among its own ancestors");
        let verdict_of = |(event_id, verdict): &(Option<String>, Option<Verdict>)| {
            let judged = || event_id.as_deref().and_then(|id| verdicts.get(id)).unwrap_or(&circular);
            verdict.as_ref().unwrap_or_else(judged).clone()
        };
        (self.reports.iter().map(verdict_of).collect(), woken)
    }

    /// Loads what judging the batch needs, in few queries.
    fn read_ahead(&self, room: &Room<'_>, events: &GraphEvents<'_, '_>, keys: &StateKeys<'_, '_>) {
        let create_id = room.create_event_id();
        let cited = self.pdus.iter().flat_map(|pdu| {
            let event = &pdu.event;
            [event.event_id()].into_iter().chain(event.auth_events()).chain(event.prev_events())
        });
        events.load_ids(cited.chain(create_id.as_deref()));
        let create = ("m.room.create".to_owned(), String::new());
        let levels = ("m.room.power_levels".to_owned(), String::new());
        keys.load(self.pdus.iter().flat_map(|pdu| keys_of(room.version, &pdu.event)).chain([create, levels]));
    }

    /// The nids of the senders and members of all events. They are added at once, so that concurrent calls
    /// add users in the same order.
    fn users(&self, room: &Room<'_>) -> HashMap<String, i64> {
        let of_event = |pdu: &'_ Pdu| {
            let member = pdu.event.state_key().filter(|_| pdu.event.event_type() == "m.room.member");
            [Some(pdu.event.sender().to_owned()), member.map(str::to_owned)]
        };
        let ids: BTreeSet<String> = self.pdus.iter().flat_map(of_event).flatten().collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).filter(|id| !id.contains('\0')).collect();
        users::intern(room.db, &ids)
    }
}
