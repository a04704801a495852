//! Judges events by the checks that need the room: by the auth events, by the state before the event, and by
//! the current state.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use matriarch_rules::{Event, Rejection};
use matriarch_wire::{GivenUp, Kind, Needs, States, Verdict};

use crate::{
    intake::{
        given::GivenState, partial::Partial, positions::Positions, rejoin, verify::Pdu, writer::Writer,
    },
    room::{
        Room,
        graph_events::{GraphEvent, GraphEvents, Status},
        policy::PolicyServer,
        resolve::RoomGraph,
        state_at::StateAt,
        state_keys::StateKeys,
    },
};

/// A batch of events in intake, and the room.
pub struct Intake<'r, 'a> {
    pub(super) room: &'r mut Room<'a>,
    pub(super) events: &'r GraphEvents<'a, 'a>,
    pub(super) keys: &'r StateKeys<'a, 'a>,
    pub(super) users: &'r HashMap<String, i64>,
    pub(super) kind: Kind,
    pub(super) writer: Writer,
    pub(super) states: &'r States,
    /// Whether accepted events are sent to the other servers in the room.
    pub relay: bool,
    /// The positions of backfilled events.
    pub positions: Positions,
    given_up: &'r GivenUp,
    /// The policy server of the state that the room had before the batch.
    policy_server: Option<PolicyServer>,
    /// The id of the join by which this server comes back to the room; see [`rejoin`].
    pub(super) rejoin: Option<String>,
    pub(super) partial: Partial,
    states_after: HashMap<i64, i64>,
    /// Accepted events whose states after are still to be resolved with the current state: while the room is
    /// crowded, that is done once for the batch.
    pub(super) unresolved: Vec<i64>,
}

/// The root of the state before an event, or the verdict if it cannot be determined.
type StateBefore = Result<i64, Verdict>;

impl<'r, 'a> Intake<'r, 'a> {
    #[expect(clippy::too_many_arguments, reason = "the batch's parts, handed over once")]
    pub fn new(
        room: &'r mut Room<'a>,
        events: &'r GraphEvents<'a, 'a>,
        keys: &'r StateKeys<'a, 'a>,
        users: &'r HashMap<String, i64>,
        kind: Kind,
        states: &'r States,
        given_up: &'r GivenUp,
        pdus: &[Pdu],
    ) -> Self {
        let writer = Writer::new(room, pdus);
        let rejoin = rejoin::find(room, kind, states, pdus);
        let partial = Partial::find(room, states, rejoin.as_deref());
        let policy_server = if kind == Kind::Live && rejoin.is_none() { room.policy_server() } else { None };
        Self {
            room,
            events,
            keys,
            users,
            kind,
            writer,
            states,
            relay: false,
            positions: Positions::default(),
            given_up,
            policy_server,
            rejoin,
            partial,
            states_after: HashMap::new(),
            unresolved: Vec::new(),
        }
    }

    /// Judges an event and stores it. The events of the batch that it cites must have been received before.
    pub fn receive(&mut self, pdu: &Pdu) -> Verdict {
        let event = &pdu.event;
        if let Some(known) = self.events.by_id(event.event_id()) {
            if known.room_nid != self.room.nid {
                return Verdict::refused("another room has an event of this id");
            }
            let is_settled = known.is_in_graph() && !self.lacks_successor(event.event_id());
            if is_settled || self.kind == Kind::Outlier {
                return self.verdict_of(&known);
            }
        }
        let events = self.missing_auth_events(event);
        if !events.is_empty() {
            // Where the auth events lie in the gap before the event, they come with it.
            let is_new = self.kind == Kind::Live && !self.states.contains_key(event.event_id());
            let prev_events = if is_new { self.missing_prev_events(event) } else { Vec::new() };
            return Verdict::Needs { needs: Needs { events, prev_events, ..Needs::default() } };
        }
        let by_auth_events = || self.graph().check_by_auth_events(event, pdu.verified);
        let allowed = match self.events.by_id(event.event_id()) {
            // A rejected outlier stays rejected. Missing auth events that were stored since have greater
            // nids, and an event must have a greater nid than all that it cites.
            Some(known) if known.status == Status::Rejected => {
                Err(self.writer.reason(self.room.db, known.nid).unwrap_or_default())
            }
            _ => by_auth_events().map_err(|rejection| format!("by its auth events: {rejection}")),
        };
        if self.kind == Kind::Outlier {
            return match allowed {
                Ok(()) => self.store(pdu, Status::Outlier, None, None),
                Err(reason) => self.store(pdu, Status::Rejected, Some(reason), None),
            };
        }
        if self.kind == Kind::Backfilled && self.positions.of(event.event_id()).is_none() {
            return Verdict::refused("the gap in the timeline has no free position for it");
        }
        let root = match self.state_before(event) {
            Ok(root) => root,
            Err(verdict) => return verdict,
        };
        let allowed = allowed.and_then(|()| {
            self.graph()
                .check_by_state(event, StateAt::root(root))
                .map_err(|rejection| format!("by the state before it: {rejection}"))
        });
        if let Err(reason) = allowed {
            return self.store(pdu, Status::Rejected, Some(reason), Some(root));
        }
        if self.kind == Kind::Live
            && let Err(rejection) = self.check_by_current_state(event, root)
        {
            let reason = format!("by the current state: {rejection}");
            return self.store(pdu, Status::SoftFailed, Some(reason), Some(root));
        }
        if self.kind == Kind::Live
            && let Some(policy) = &self.policy_server
            && !policy.recommends(self.room.version, event)
        {
            if !self.given_up.policy_signatures.contains(event.event_id()) {
                let policy_server = Some(policy.via.clone());
                return Verdict::Needs { needs: Needs { policy_server, ..Needs::default() } };
            }
            let reason = format!("{}, the room's policy server, did not sign it", policy.via);
            return self.store(pdu, Status::SoftFailed, Some(reason), Some(root));
        }
        self.store(pdu, Status::Accepted, None, Some(root))
    }

    /// Whether the batch is live, and the event is stored as a backfilled event without successor. Such an
    /// event counts as not stored yet: it is as new as the batch.
    fn lacks_successor(&self, event_id: &str) -> bool {
        self.kind == Kind::Live && self.writer.without_successor.contains(event_id)
    }

    fn missing_auth_events(&self, event: &Event) -> Vec<String> {
        let create = self.room.create_event_id().filter(|_| event.event_type() != "m.room.create");
        let unknown = |id: &&str| self.events.by_id(id).is_none();
        event.auth_events().chain(create.as_deref()).filter(unknown).map(str::to_owned).collect()
    }

    /// The previous events that are missing and that the caller has not given up.
    fn missing_prev_events(&self, event: &Event) -> Vec<String> {
        let missing =
            |id: &&str| self.prev_in_graph(id).is_none() && !self.given_up.prev_events.contains(*id);
        event.prev_events().filter(missing).map(str::to_owned).collect()
    }

    /// A previous event, if it is in the room's graph.
    fn prev_in_graph(&self, id: &str) -> Option<Rc<GraphEvent>> {
        let in_graph = |prev: &Rc<GraphEvent>| prev.is_in_graph() && prev.room_nid == self.room.nid;
        self.events.by_id(id).filter(|prev| in_graph(prev) && !self.lacks_successor(id))
    }

    /// Check 6: the current state must allow the event. It is resolved together with the state before the
    /// event, so that events of a branch do not fail because the room has not seen the branch.
    fn check_by_current_state(&mut self, event: &Event, before: i64) -> Result<(), Rejection> {
        let has_no_current_state =
            self.room.header.extremities.is_empty() || self.rejoins_by(event.event_id());
        if before == self.room.header.root || has_no_current_state {
            return Ok(());
        }
        let mut roots = match self.room.header.is_crowded() {
            true => BTreeSet::from([self.room.header.root]),
            false => self.roots_of_extremities(),
        };
        roots.insert(before);
        let mut current = self.resolved(&roots);
        if self.room.header.partial {
            // The resolution may leave out members because the room's rules have changed since they joined.
            // The event cites their member events, so these count.
            current = self.with_cited_members(event, current);
        }
        if current == before { Ok(()) } else { self.graph().check_by_state(event, StateAt::root(current)) }
    }

    /// The states after the forward extremities.
    pub(super) fn roots_of_extremities(&mut self) -> BTreeSet<i64> {
        let extremities: Vec<i64> =
            self.room.header.extremities.iter().map(|extremity| extremity.nid).collect();
        self.events.load(extremities.iter().copied());
        extremities.into_iter().filter_map(|nid| self.state_after(&self.events.get(nid))).collect()
    }

    /// The state before an event: the given state, or what the states after its previous events resolve to.
    fn state_before(&mut self, event: &Event) -> StateBefore {
        let event_id = event.event_id();
        if let Some(given) = self.states.get(event_id).filter(|_| self.is_given(event_id)) {
            let root = self.given_state(given)?;
            return Ok(if self.partial.begins_by(event_id) {
                self.with_cited_members(event, root)
            } else {
                root
            });
        }
        let missing = self.missing_prev_events(event);
        if !missing.is_empty() {
            return Err(Verdict::Needs { needs: Needs { prev_events: missing, ..Needs::default() } });
        }
        let (mut roots, mut lost) = (BTreeSet::new(), false);
        for id in event.prev_events() {
            match self.prev_in_graph(id) {
                Some(prev) => roots.extend(self.state_after(&prev)),
                None => lost = true,
            }
        }
        if !self.room.header.partial {
            return if lost {
                Err(Verdict::Needs { needs: Needs { state: true, ..Needs::default() } })
            } else {
                Ok(self.resolved(&roots))
            };
        }
        if lost {
            // The state is asked for when the room is whole.
            self.partial.lost.insert(event_id.to_owned());
            roots.insert(self.room.header.root);
        }
        let root = self.resolved(&roots);
        Ok(self.with_cited_members(event, root))
    }

    /// The root of the state that these states resolve to; see [`RoomGraph::resolved`].
    pub(super) fn resolved(&mut self, roots: &BTreeSet<i64>) -> i64 {
        if roots.len() > 1 {
            self.flush();
        }
        self.graph().resolved(roots)
    }

    fn graph(&self) -> RoomGraph<'_, 'a, 'a> {
        RoomGraph::new(self.room, self.events, self.keys)
    }

    /// The root of the state after an event of the graph.
    pub(super) fn state_after(&mut self, event: &GraphEvent) -> Option<i64> {
        if let Some(known) = self.states_after.get(&event.nid) {
            return Some(*known);
        }
        let after = self.graph().state_after(event)?;
        self.states_after.insert(event.nid, after);
        Some(after)
    }

    /// The root of a given state.
    fn given_state(&mut self, event_ids: &[String]) -> StateBefore {
        self.flush();
        let given = GivenState::read(self.room.db, self.room.nid, event_ids).map_err(Verdict::refused)?;
        if !given.missing.is_empty() {
            return Err(Verdict::Needs { needs: Needs { events: given.missing, ..Needs::default() } });
        }
        Ok(given.root(self.room))
    }
}
