//! This server comes back to a room that its last user has left.
//!
//! While no local user is in a room, nobody sends this server what happens there. What it knows of the
//! room's state has ended with the last leave. So the state that comes with the next join is the room's
//! state: the join is not judged by the older one, and the forward extremities of the earlier stay take no
//! part in the current state any more. Their events stay as history.

use std::collections::BTreeSet;

use matriarch_rules::Event;
use matriarch_wire::{Kind, States};
use serde_json::Value;

use crate::{
    intake::{judge::Intake, verify::Pdu},
    room::{Room, graph_events::GraphEvent},
};

/// The id of the join among these events by which this server comes back to the room. The room's forward
/// extremities are loaded.
pub fn find(room: &Room<'_>, kind: Kind, states: &States, pdus: &[Pdu]) -> Option<String> {
    if kind != Kind::Live || room.header.extremities.is_empty() {
        return None;
    }
    let rejoins = |event: &&Event| {
        states.contains_key(event.event_id())
            && room.signer.is_local(event.sender())
            && event.event_type() == "m.room.member"
            && event.state_key() == Some(event.sender())
            && event.content().get("membership").and_then(Value::as_str) == Some("join")
    };
    let join = pdus.iter().map(|pdu| &pdu.event).find(rejoins)?;
    let is_in_room = room.has_joined_member_of(&room.signer.server_name);
    (!is_in_room).then(|| join.event_id().to_owned())
}

impl Intake<'_, '_> {
    /// Whether this server comes back to the room by this event.
    pub(super) fn rejoins_by(&self, event_id: &str) -> bool {
        self.rejoin.as_deref() == Some(event_id)
    }

    /// Takes the forward extremities of the earlier stay out of the current state, if this server comes back
    /// by this event. Returns them.
    pub(super) fn end_earlier_stay(&mut self, event: &GraphEvent) -> BTreeSet<i64> {
        if !self.rejoins_by(event.event.event_id()) {
            return BTreeSet::new();
        }
        let ended: BTreeSet<i64> =
            self.room.header.extremities.iter().map(|extremity| extremity.nid).collect();
        self.mark_superseded(&ended.iter().copied().collect::<Vec<_>>());
        ended
    }
}
