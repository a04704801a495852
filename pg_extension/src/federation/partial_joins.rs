//! Makes partial rooms whole: rooms that a local user has joined while most members are still being loaded.
//! MSC3706, MSC3902.
//!
//! The response to the join had the state without most members. A member event that an event cites is added
//! to the state before that event ([`Intake::with_cited_members`](crate::intake)). Requests that must know
//! all members wait ([`room::partial`](crate::room::partial)). When all members are loaded, the states before
//! the events of that time are computed again, and the events are judged again ([`complete_partial_join`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};

use matriarch_rules::{Event, topological_order};
use matriarch_wire::{CompletedJoin, States};
use pgrx::{Array, pg_extern};

use crate::{
    base::{
        response::{MatrixError, Response, ResponseRows, Result, respond},
        spi::Mode,
    },
    inspect::verify::Verifier,
    intake::{GivenState, parse_states},
    outbox::edus,
    room::{
        Room,
        graph_events::{GraphEvent, GraphEvents},
        held_receipts,
        resolve::RoomGraph,
        state_keys::StateKeys,
    },
    trie,
};

/// The number of events that are judged again at a time.
const BATCH: usize = 1_000;

const FIND: &str = "select room_id from partial_joins where join_event_id = $1 and room_nid is not null";

const READ: &str = "select join_nid, servers from partial_joins where join_event_id = $1";

const EVENTS: &str = "select event_nid, lost from partial_states where room_nid = $1";

const STATE_BEFORE: &str = "select state_before from events where event_nid = $1";

const MEMBERS: &str = "select key_idx from room_state_keys where room_nid = $1 and type = 'm.room.member'";

const FORGET_RESOLUTIONS: &str = "delete from state_resolutions where room_nid = $1";

const SET_STATES: &str = "
    update events e
    set state_before = s.root, state_given = s.given
    from unnest($1, $2, $3) as s (event_nid, root, given)
    where e.event_nid = s.event_nid";

/// Room roots of that time were made from incomplete states.
const FORGET_ROOM_ROOTS: &str = "
    update events set room_root = null where event_nid = any($1) and room_root is not null";

const SET_ROOM_ROOT: &str = "
    update events set room_root = $2 where event_nid = $1 and room_root is distinct from $2";

const HEADER: &str = "
    select forward_extremities, last_pos, depth, next_key_idx, notify_seq from rooms where room_nid = $1";

const NEWEST: &str = "
    select event_nid from events where room_nid = $1 and pos is not null order by pos desc limit 1";

const LOCAL_MEMBERS: &str = "
    select m.user_nid
    from memberships m
    cross join lateral (select from accounts where user_nid = m.user_nid offset 0) a
    where m.room_nid = $1 and m.membership = 'join'";

const END: &str = "
    with states as (
        delete from partial_states where room_nid = $1
    ),
    joins as (
        delete from partial_joins where room_nid = $1
    )
    update rooms set partial = false, whole_xid = pg_current_xact_id() where room_nid = $1";

/// Makes a partial room whole.
///
/// - `state`: the ids of the events of the state before the join, which are stored.
/// - `states`: states before events whose previous events cannot be obtained, as in `receive_pdus`.
/// - `given_up`: the ids of such events whose states cannot be obtained either; NULL: all of them.
///
/// Returns [`CompletedJoin`]. If such an event is neither in `states` nor in `given_up`, `needs` names it,
/// and nothing was done.
///
/// # Errors
///
/// 400 `M_INVALID_PARAM` if `state` is no state of the room.
#[pg_extern]
fn complete_partial_join(
    join_event_id: &str,
    state: Array<'_, &str>,
    states: Option<&str>,
    given_up: Option<Array<'_, &str>>,
) -> ResponseRows {
    let state: Vec<String> = state.iter().flatten().map(str::to_owned).collect();
    let given_up: Option<BTreeSet<String>> =
        given_up.map(|given_up| given_up.iter().flatten().map(str::to_owned).collect());
    respond(Mode::Write, |db| {
        let states = parse_states(states)?;
        let Some(row) = db.query_opt(FIND, &[join_event_id.into()]) else { return Ok(Response::empty()) };
        let room_id: String = row.get("room_id");
        let complete = |room: &mut Room<'_>| {
            // Another node may have completed the join meanwhile.
            let Some(row) = db.query_opt(READ, &[join_event_id.into()]) else { return Ok(Response::empty()) };
            let (join_nid, servers): (i64, Vec<String>) = (row.get("join_nid"), row.get("servers"));
            let whole = Whole { room, join_nid, servers };
            whole.make(&state, &states, given_up.as_ref())
        };
        Room::with(db, &room_id, complete).unwrap_or_else(|| Ok(Response::empty()))
    })
}

/// A partial room that becomes whole.
struct Whole<'r, 'd> {
    room: &'r mut Room<'d>,
    join_nid: i64,
    servers: Vec<String>,
}

impl Whole<'_, '_> {
    fn make(
        mut self,
        state: &[String],
        states: &States,
        given_up: Option<&BTreeSet<String>>,
    ) -> Result<Response> {
        let db = self.room.db;
        let events = GraphEvents::new(db);
        let lost: HashMap<i64, bool> = db
            .query(EVENTS, &[self.room.nid.into()])
            .map(|row| (row.get("event_nid"), row.get("lost")))
            .collect();
        events.load(lost.keys().copied().chain([self.join_nid]));
        let of_then: Vec<_> = lost.keys().map(|nid| events.get(*nid)).collect();
        let needs: BTreeSet<String> = of_then
            .iter()
            .filter(|event| lost[&event.nid])
            .map(|event| event.event.event_id())
            .filter(|id| {
                !states.contains_key(*id) && given_up.is_some_and(|given_up| !given_up.contains(*id))
            })
            .map(str::to_owned)
            .collect();
        if !needs.is_empty() {
            return Ok(Response::wire(&CompletedJoin { needs }));
        }
        let order = topological_order(&of_then.iter().map(|event| &*event.event).collect::<Vec<&Event>>());
        let ordered: Vec<i64> = order.into_iter().map(|index| of_then[index].nid).collect();
        self.set_states(&events, state, states, &ordered, &lost)?;
        self.judge_again(&ordered);
        self.follow(&ordered);
        Ok(self.end())
    }

    /// Computes the states before the events again, from the statuses that the events have.
    fn set_states(
        &mut self,
        events: &GraphEvents<'_, '_>,
        state: &[String],
        states: &States,
        ordered: &[i64],
        lost: &HashMap<i64, bool>,
    ) -> Result<()> {
        let (db, room_nid) = (self.room.db, self.room.nid);
        let room = &*self.room;
        let keys = StateKeys::new(db, room_nid);
        let join_root = self.state_before_join(&keys, state)?;
        db.execute(FORGET_RESOLUTIONS, &[room_nid.into()]);
        let graph = RoomGraph::new(room, events, &keys);
        let mut found: BTreeMap<i64, (i64, bool)> = BTreeMap::from([(self.join_nid, (join_root, true))]);
        let set = |nid: i64, root: i64| {
            let event = events.get(nid);
            events.keep(GraphEvent { state_before: Some(root), ..(*event).clone() });
        };
        set(self.join_nid, join_root);
        for nid in ordered {
            let event = events.get(*nid);
            // A malformed state counts as not given. Events of it that are not stored could not be obtained.
            let given = states.get(event.event.event_id());
            let given = given.and_then(|ids| GivenState::read(db, room_nid, ids).ok());
            let (root, is_given) = match given {
                Some(given) => (given.root(room), true),
                None => {
                    let prev_events = event.prev_nids.iter().map(|nid| events.get(*nid));
                    let mut roots: BTreeSet<i64> =
                        prev_events.filter_map(|prev| graph.state_after(&prev)).collect();
                    // If no state is given, the state before the join replaces the missing previous events.
                    roots.extend(lost[nid].then_some(join_root));
                    (graph.resolved(&roots), lost[nid])
                }
            };
            set(*nid, root);
            found.insert(*nid, (root, is_given));
        }
        let nids: Vec<i64> = found.keys().copied().collect();
        let roots: Vec<i64> = found.values().map(|(root, _)| *root).collect();
        let are_given: Vec<bool> = found.values().map(|(_, is_given)| *is_given).collect();
        db.execute(SET_STATES, &[nids.into(), roots.into(), are_given.into()]);
        Ok(())
    }

    /// The state before the join: the members that were loaded now, and the other state as it came with the
    /// join.
    fn state_before_join(&self, keys: &StateKeys<'_, '_>, state: &[String]) -> Result<i64> {
        let (db, room_nid) = (self.room.db, self.room.nid);
        let known = db.query_one(STATE_BEFORE, &[self.join_nid.into()]).get("state_before");
        let mut given = GivenState::read(db, room_nid, state).map_err(MatrixError::invalid_param)?;
        let create = keys.get("m.room.create", "");
        if create.is_none_or(|key| given.get(key).is_none() || given.get(key) != trie::get(db, known, key)) {
            return Err(MatrixError::invalid_param("The state is of another room."));
        }
        let members = db.query(MEMBERS, &[room_nid.into()]).map(|row| row.get("key_idx")).collect();
        given.keep_only(&members, trie::entries(db, known));
        Ok(given.root(self.room))
    }

    /// Judges the events again, as a repair does. If a status changes, the states of later events change too.
    fn judge_again(&mut self, ordered: &[i64]) {
        let db = self.room.db;
        db.execute("delete from partial_states where room_nid = $1", &[self.room.nid.into()]);
        let mut verifier = Verifier::new(&self.room.id, Mode::Write);
        let all: Vec<i64> = [self.join_nid].into_iter().chain(ordered.iter().copied()).collect();
        for batch in all.chunks(BATCH) {
            verifier.with_view(|verifier, view| verifier.check_states(view, batch));
        }
        if verifier.report.repaired {
            verifier.with_view(Verifier::check_forward_extremities);
            // They were resolved from other statuses.
            db.execute(FORGET_RESOLUTIONS, &[self.room.nid.into()]);
        }
        let row = db.query_one(HEADER, &[self.room.nid.into()]);
        let header = &mut self.room.header;
        header.extremity_nids = row.get("forward_extremities");
        header.last_pos = row.get("last_pos");
        header.depth = row.get("depth");
        header.next_key_idx = row.get("next_key_idx");
        header.notify_seq = row.get("notify_seq");
    }

    /// Sets the current state to what the states after the forward extremities resolve to.
    fn follow(&mut self, ordered: &[i64]) {
        let db = self.room.db;
        let room = &mut *self.room;
        let from = room.header.root;
        let events = GraphEvents::new(db);
        let keys = StateKeys::new(db, room.nid);
        room.load([]);
        let extremities: Vec<i64> = room.header.extremities.iter().map(|extremity| extremity.nid).collect();
        let graph = RoomGraph::new(room, &events, &keys);
        let roots: BTreeSet<i64> =
            extremities.into_iter().filter_map(|nid| graph.state_after(&events.get(nid))).collect();
        let root = graph.resolved(&roots);
        let nids: Vec<i64> = ordered.iter().copied().chain([self.join_nid]).collect();
        db.execute(FORGET_ROOM_ROOTS, &[nids.into()]);
        let newest: Option<i64> = db.query_opt(NEWEST, &[room.nid.into()]).map(|row| row.get("event_nid"));
        if let Some(newest) = newest.filter(|nid| graph.state_after(&events.get(*nid)) != Some(root)) {
            db.execute(SET_ROOM_ROOT, &[newest.into(), root.into()]);
        }
        room.header.root = root;
        room.follow_state(from);
    }

    fn end(&mut self) -> Response {
        let room = &mut *self.room;
        room.count_presumed(&self.servers, -1, self.join_nid);
        room.db.execute(END, &[room.nid.into()]);
        let members = room.db.query(LOCAL_MEMBERS, &[room.nid.into()]).map(|row| row.get("user_nid"));
        edus::introduce_to_others(room.db, room.nid, members.collect(), &self.servers);
        held_receipts::apply(room.db, room.nid);
        room.header.partial = false;
        room.header.changed = true;
        room.header.state_rewrites += 1;
        let mut response = Response::empty().wake_room(room.nid);
        response.wake_users = std::mem::take(&mut room.wake_users);
        response
    }
}
