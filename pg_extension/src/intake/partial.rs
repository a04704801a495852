//! Intake into partial rooms; see [`room::partial`](crate::room::partial).

use std::collections::{BTreeMap, HashSet};

use matriarch_rules::Event;
use matriarch_wire::States;

use crate::{
    intake::judge::Intake,
    room::{
        Room, event_rows,
        graph_events::{GraphEvent, Status},
    },
    trie,
};

const ANNOUNCED: &str = "
    select join_event_id from partial_joins where join_event_id = any($1) and room_nid is null";

/// What a batch does to a partial room, or to a room that becomes partial.
#[derive(Default)]
pub struct Partial {
    /// The id of the join whose given state lacks members.
    join: Option<String>,
    /// Whether the given state can be used, because the room has no state yet, or one that has ended.
    begins: bool,
    /// The ids of events some of whose previous events cannot be obtained.
    pub lost: HashSet<String>,
    /// Events whose states before them lack members.
    noted: Vec<i64>,
    noted_lost: Vec<i64>,
    /// The join by which the room became partial, and the other servers in the room.
    began: Option<(i64, Vec<String>)>,
    /// The same of a partial join of an earlier stay, which ended.
    ended: Option<(i64, Vec<String>)>,
}

impl Partial {
    /// Finds out whether one of the given states belongs to a partial join. `rejoin` is the join by which
    /// this server comes back to the room.
    pub fn find(room: &Room<'_>, states: &States, rejoin: Option<&str>) -> Self {
        let ids: Vec<&str> = states.keys().map(String::as_str).filter(|id| !id.contains('\0')).collect();
        if ids.is_empty() {
            return Self::default();
        }
        let join: Option<String> =
            room.db.query_opt(ANNOUNCED, &[ids.into()]).map(|row| row.get("join_event_id"));
        let is_new = room.header.root == trie::EMPTY && room.header.extremities.is_empty();
        let begins = is_new || (rejoin.is_some() && rejoin == join.as_deref());
        Self { join, begins, ..Self::default() }
    }

    /// Whether the room becomes partial by this event.
    pub fn begins_by(&self, event_id: &str) -> bool {
        self.begins && self.join.as_deref() == Some(event_id)
    }
}

impl Intake<'_, '_> {
    /// Whether the given state is used as the state before an event. The incomplete state of a partial join
    /// is not used if another join was stored first.
    pub(super) fn is_given(&self, event_id: &str) -> bool {
        let is_partial = self.partial.join.as_deref() == Some(event_id);
        self.states.contains_key(event_id) && (!is_partial || self.partial.begins)
    }

    /// Adds to a state the members that it lacks, of those whose member events the event cites.
    pub(super) fn with_cited_members(&self, event: &Event, root: i64) -> i64 {
        let mut members: BTreeMap<i32, Option<i64>> = event
            .auth_events()
            .filter_map(|id| self.events.by_id(id))
            .filter(|cited| cited.room_nid == self.room.nid && cited.status != Status::Rejected)
            .filter(|cited| cited.event.event_type() == "m.room.member")
            .filter_map(|cited| Some((cited.key_idx?, Some(cited.nid))))
            .collect();
        let keys: Vec<i32> = members.keys().copied().collect();
        for (key, known) in keys.iter().zip(trie::get_many(self.room.db, root, &keys)) {
            if known.is_some() {
                members.remove(key);
            }
        }
        trie::set_many(self.room.db, self.room.nid, root, &members)
    }

    /// Records, for an event that was stored, that its state lacks members, or that the room became partial
    /// by it.
    pub(super) fn note_partial(&mut self, event: &GraphEvent) {
        let event_id = event.event.event_id();
        if event.status == Status::Accepted && self.room.header.partial && self.rejoins_by(event_id) {
            self.partial.ended = self.room.abandon_partial();
        }
        if self.partial.begins_by(event_id) {
            if event.status == Status::Accepted {
                self.flush();
                self.partial.began = Some((event.nid, self.room.begin_partial(event)));
            }
        } else if self.room.header.partial && !self.is_given(event_id) {
            self.partial.noted.push(event.nid);
            if self.partial.lost.contains(event_id) {
                self.partial.noted_lost.push(event.nid);
            }
        }
    }

    /// Ends the batch. To be called when the room's members were counted.
    pub(super) fn finish_partial(&mut self) {
        let Partial { noted, noted_lost, began, ended, .. } = std::mem::take(&mut self.partial);
        event_rows::note_partial(self.room.db, self.room.nid, noted, noted_lost);
        if let Some((join_nid, servers)) = ended {
            self.room.count_presumed(&servers, -1, join_nid);
        }
        if let Some((join_nid, servers)) = began {
            self.room.count_presumed(&servers, 1, join_nid);
        }
    }
}
