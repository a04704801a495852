//! Stores judged events: their rows, their edges in the graph, and the room's current state.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    rc::Rc,
};

use matriarch_wire::{Kind, Verdict};

use crate::{
    intake::{
        judge::Intake,
        positions::{GAP_STEP, Position},
        verify::Pdu,
        writer::promote,
    },
    room::{
        Extremity, POS_STEP,
        annotations::Annotations,
        event_rows::{EventRow, next_event_nid},
        graph_events::{GraphEvent, Status},
        held_receipts, reference,
    },
};

const CITE: &str = "
    insert into missing_prev_events (room_nid, prev_event_id, event_nid)
    select $1, prev_event_id, $3 from unnest($2) as prev_event_id
    on conflict do nothing";

/// Moves the event from the missing previous events of the events that cite it to their `prev_nids`.
const ADD_PREV: &str = "
    with citing as (
        delete from missing_prev_events where room_nid = $1 and prev_event_id = $2 returning event_nid
    )
    update events e
    set prev_nids = e.prev_nids || $3
    from citing
    where e.event_nid = citing.event_nid
    returning e.event_nid";

const SUPERSEDE: &str = "update events set superseded = true where event_nid = any($1)";

const SET_STATE_GIVEN: &str = "update events set state_given = true where event_nid = $1";

const SET_ROOM_ROOT: &str = "update events set room_root = $2 where event_nid = any($1)";

impl Intake<'_, '_> {
    /// Stores an event with its status. Returns the verdict.
    pub(super) fn store(
        &mut self,
        pdu: &Pdu,
        status: Status,
        reason: Option<String>,
        root: Option<i64>,
    ) -> Verdict {
        let verdict = verdict(status, reason.clone());
        let outlier = self.events.by_id(pdu.event.event_id());
        let promoted = outlier.is_some();
        let event = self.events.keep(self.graph_event(pdu, status, root, outlier.as_deref()));
        let accepted = status == Status::Accepted;
        let annotations = if accepted { self.annotations(&event) } else { Annotations::default() };
        let position = accepted.then(|| self.position_in_timeline(&event, &annotations));
        let row = EventRow {
            event_nid: event.nid,
            room_nid: self.room.nid,
            pos: position.map(|position| position.pos),
            depth: event.event.depth(),
            origin_server_ts: event.event.origin_server_ts(),
            sender_nid: self.users[event.event.sender()],
            state_before: root,
            device_nid: None,
            thread_root_nid: annotations.thread_root_nid,
            notify_seq: position.map_or(self.room.header.notify_seq, |position| position.notify_seq),
            key_idx: event.key_idx,
            status,
            status_reason: reason,
            notifies: annotations.notifications.notifies,
            event_id: event.event.event_id().to_owned(),
            event_type: event.event.event_type().to_owned(),
            txn_id: None,
            prev_nids: event.prev_nids.clone(),
            auth_nids: event.auth_nids.clone(),
            mentions: annotations.notifications.mentions,
            outgoing: accepted && self.relay && self.room.mark_outgoing(),
            json: pdu.json.clone(),
        };
        if promoted {
            promote(self.room.db, row);
        } else {
            self.writer.rows.push(row);
        }
        self.room.header.changed = true;
        if event.is_in_graph() {
            self.note_partial(&event);
        }
        if event.is_in_graph() && self.is_given(event.event.event_id()) {
            self.flush();
            self.room.db.execute(SET_STATE_GIVEN, &[event.nid.into()]);
        }
        if event.is_in_graph() {
            self.place_in_graph(&event);
            self.update_successors(&event);
        }
        if accepted {
            self.apply_redaction(&event);
        }
        self.apply_missed_redactions(&event);
        verdict
    }

    /// The event as it will be stored.
    fn graph_event(
        &mut self,
        pdu: &Pdu,
        status: Status,
        root: Option<i64>,
        outlier: Option<&GraphEvent>,
    ) -> GraphEvent {
        let event = &pdu.event;
        let key_idx = match (outlier, event.state_key()) {
            (Some(outlier), _) => outlier.key_idx,
            (None, Some(state_key)) if status != Status::Rejected => {
                Some(self.key_idx(event.event_type(), state_key))
            }
            _ => None,
        };
        let nids_of = |ids: &mut dyn Iterator<Item = &str>, wanted: fn(&GraphEvent) -> bool| -> Vec<i64> {
            let known = ids.filter_map(|id| self.events.by_id(id));
            // Events of other rooms are stored without this room's lock, so their nids may be in any order.
            let known = known.filter(|known| known.room_nid == self.room.nid && wanted(known));
            let nids: BTreeSet<i64> = known.map(|known| known.nid).collect();
            nids.into_iter().collect()
        };
        let in_graph = root.is_some();
        // The stored JSON and auth events stay: the event may have been redacted, and more auth events may be
        // stored by now.
        let stored = outlier.map_or(event, |outlier| &outlier.event);
        GraphEvent {
            nid: outlier.map_or_else(next_event_nid, |outlier| outlier.nid),
            room_nid: self.room.nid,
            auth_nids: match outlier {
                Some(outlier) => outlier.auth_nids.clone(),
                None => nids_of(&mut event.auth_events(), |_| true),
            },
            prev_nids: if in_graph {
                nids_of(&mut event.prev_events(), GraphEvent::is_in_graph)
            } else {
                Vec::new()
            },
            event: Rc::new(stored.clone().with_rejected(status == Status::Rejected)),
            status,
            key_idx,
            state_before: root,
            superseded: false,
        }
    }

    /// The `key_idx` of a state key. A new state key gets the next number.
    fn key_idx(&mut self, event_type: &str, state_key: &str) -> i32 {
        self.keys.get(event_type, state_key).unwrap_or_else(|| {
            let key_idx = self.room.header.next_key_idx;
            self.room.header.next_key_idx += 1;
            self.keys.add(event_type, state_key, key_idx);
            key_idx
        })
    }

    /// The position of an accepted event. A live event gets the next one, and the room's header is updated.
    fn position_in_timeline(&mut self, event: &GraphEvent, annotations: &Annotations) -> Position {
        if let Some(position) = self.positions.of(event.event.event_id()) {
            self.writer.first_pos = position.pos.min(self.writer.first_pos);
            return position;
        }
        let step = if self.missing_prevs(event).is_empty() { POS_STEP } else { GAP_STEP };
        self.writer.shown = true;
        let header = &mut self.room.header;
        header.last_pos += step;
        header.depth = header.depth.max(event.event.depth());
        // Unread counts of threads are separate, by thread root.
        if annotations.notifications.notifies && annotations.thread_root_nid.is_none() {
            header.notify_seq += 1;
        }
        Position { pos: header.last_pos, notify_seq: header.notify_seq }
    }

    /// The previous events that are not in the graph.
    pub(super) fn missing_prevs<'e>(&self, event: &'e GraphEvent) -> Vec<&'e str> {
        let is_prev = |prev: Rc<GraphEvent>| prev.is_in_graph() && prev.room_nid == self.room.nid;
        event.event.prev_events().filter(|id| !self.events.by_id(id).is_some_and(is_prev)).collect()
    }

    /// Adds the event's edges to the graph, and updates the forward extremities and the current state.
    fn place_in_graph(&mut self, event: &Rc<GraphEvent>) {
        let missing = self.missing_prevs(event);
        if !missing.is_empty() {
            self.room.db.execute(CITE, &[self.room.nid.into(), missing.into(), event.nid.into()]);
        }
        let superseded =
            self.writer.missed_prevs.contains(event.event.event_id()) && self.is_superseded(event);
        if superseded && event.status != Status::Accepted {
            self.flush();
            self.room.db.execute(SUPERSEDE, &[vec![event.nid].into()]);
        }
        let accepted = event.status == Status::Accepted;
        if !(superseded || accepted) || (accepted && self.kind == Kind::Backfilled) {
            return;
        }
        let mut replaced = self.supersede(&event.prev_nids);
        replaced.extend(self.end_earlier_stay(event));
        let extremities = &mut self.room.header.extremities;
        // If only backfilled events follow the event, the replaced extremities may be all that the room has.
        if !superseded || extremities.iter().any(|extremity| !replaced.contains(&extremity.nid)) {
            extremities.retain(|extremity| !replaced.contains(&extremity.nid));
        }
        if !superseded {
            let reference = Some(reference(self.room.version, &event.event));
            extremities.push(Extremity { nid: event.nid, reference });
            extremities.sort_unstable_by_key(|extremity| extremity.nid);
        }
        self.set_current_state(event);
    }

    /// Updates `events_without_successor` for an event and for those that it cites.
    fn update_successors(&mut self, event: &GraphEvent) {
        let id = event.event.event_id();
        if self.kind == Kind::Backfilled && self.positions.lacks_successor(id) {
            self.flush();
            self.writer.add_without_successor(self.room, event.nid, id);
        } else {
            let cited: Vec<&str> = event.event.prev_events().chain([id]).collect();
            self.writer.mark_followed(self.room, &cited);
        }
    }

    /// Whether a stored accepted event follows this one, directly or through events that are not accepted.
    fn is_superseded(&mut self, event: &GraphEvent) -> bool {
        self.flush();
        let args = [self.room.nid.into(), event.event.event_id().into(), event.nid.into()];
        let citing: Vec<i64> = self.room.db.query(ADD_PREV, &args).map(|row| row.get("event_nid")).collect();
        citing.iter().for_each(|nid| self.events.forget(*nid));
        citing
            .into_iter()
            .map(|nid| self.events.get(nid))
            .any(|citing| citing.status == Status::Accepted || citing.superseded)
    }

    /// The events that are no forward extremities any more once an event with these `prev_nids` is stored:
    /// its previous events and, where they are not accepted, theirs in turn. Marks those that are not
    /// accepted as superseded.
    fn supersede(&mut self, prev_nids: &[i64]) -> BTreeSet<i64> {
        let mut replaced = BTreeSet::new();
        let mut unaccepted = Vec::new();
        let mut open: Vec<i64> = prev_nids.to_vec();
        while let Some(nid) = open.pop() {
            if !replaced.insert(nid) {
                continue;
            }
            let prev = self.events.get(nid);
            if prev.status != Status::Accepted && !prev.superseded {
                unaccepted.push(nid);
                open.extend(&prev.prev_nids);
            }
        }
        self.mark_superseded(&unaccepted);
        replaced
    }

    pub(super) fn mark_superseded(&mut self, nids: &[i64]) {
        if !nids.is_empty() {
            self.flush();
            self.room.db.execute(SUPERSEDE, &[nids.to_vec().into()]);
            nids.iter().for_each(|nid| self.events.forget(*nid));
        }
    }

    /// Sets the current state to what the states after the forward extremities resolve to, or leaves that for
    /// the end of the batch.
    fn set_current_state(&mut self, newest: &GraphEvent) {
        if self.room.header.is_crowded() {
            if newest.status == Status::Accepted {
                self.unresolved.push(newest.nid);
            }
            return;
        }
        let roots = self.roots_of_extremities();
        let root = self.resolved(&roots);
        self.room.header.root = root;
        if newest.status == Status::Accepted && self.state_after(newest) != Some(root) {
            self.flush();
            self.room.db.execute(SET_ROOM_ROOT, &[vec![newest.nid].into(), root.into()]);
        }
    }

    /// Resolves the current state of a crowded room with the states after the batch's events.
    fn resolve_crowded(&mut self) {
        let unresolved = std::mem::take(&mut self.unresolved);
        if unresolved.is_empty() {
            return;
        }
        let extremities: HashSet<i64> =
            self.room.header.extremities.iter().map(|extremity| extremity.nid).collect();
        let mut after = BTreeMap::new();
        for nid in unresolved {
            after.extend(self.state_after(&self.events.get(nid)).map(|root| (nid, root)));
        }
        if self.room.header.is_crowded() {
            let ends = after.iter().filter(|(nid, _)| extremities.contains(nid));
            let mut roots: BTreeSet<i64> = ends.map(|(_, root)| *root).collect();
            roots.insert(self.room.header.root);
            self.room.header.root = self.resolved(&roots);
        }
        let root = self.room.header.root;
        let differ: Vec<i64> =
            after.into_iter().filter(|(_, after)| *after != root).map(|(nid, _)| nid).collect();
        if !differ.is_empty() {
            self.flush();
            self.room.db.execute(SET_ROOM_ROOT, &[differ.into(), root.into()]);
        }
    }

    /// Writes pending rows, so that queries see them.
    pub(super) fn flush(&mut self) {
        self.keys.flush();
        self.writer.flush(self.room);
    }

    /// The verdict on an event that was stored before.
    pub(super) fn verdict_of(&self, event: &GraphEvent) -> Verdict {
        verdict(event.status, self.writer.reason(self.room.db, event.nid))
    }

    /// Ends the batch. Returns whether the timeline has new events.
    pub fn finish(mut self) -> bool {
        self.resolve_crowded();
        self.flush();
        self.writer.finish(self.room);
        if self.writer.flat_root != self.room.header.root {
            self.room.follow_state(self.writer.flat_root);
        }
        self.finish_partial();
        if self.writer.shown {
            held_receipts::apply(self.room.db, self.room.nid);
        }
        self.writer.shown
    }
}

fn verdict(status: Status, reason: Option<String>) -> Verdict {
    let reason = reason.unwrap_or_default();
    match status {
        Status::Accepted => Verdict::Accepted,
        Status::SoftFailed => Verdict::SoftFailed { reason },
        Status::Rejected => Verdict::Rejected { reason },
        Status::Outlier => Verdict::Outlier,
    }
}
