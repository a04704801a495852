//! Authorizes events by their auth events and by a state of the room.
//!
//! Spec: [Checks performed on receipt of a
//! PDU](https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu), checks 4 to
//! 6.

use std::{collections::HashMap, rc::Rc};

use matriarch_rules::{
    Event, Rejection, RoomVersion, auth::check_join_authorized_signature, auth_types_for_event,
    check_state_dependent, check_state_independent, signature::Verified,
};

use crate::room::{StateKey, resolve::RoomGraph, state_at::StateAt};

/// The state keys of the auth events that authorize an event, and the event's own state key.
pub fn keys_of(version: &RoomVersion, event: &Event) -> Vec<StateKey> {
    let mut keys = auth_keys(version, event);
    keys.extend(event.state_key().map(|state_key| (event.event_type().to_owned(), state_key.to_owned())));
    keys
}

/// The state keys of the auth events that authorize an event. Server-Server API, "Auth events selection".
pub fn auth_keys(version: &RoomVersion, event: &Event) -> Vec<StateKey> {
    auth_types_for_event(version, event.event_type(), event.sender(), event.state_key(), event.content())
}

impl RoomGraph<'_, '_, '_> {
    /// Check 4: the auth events must be a valid selection, and must allow the event. They must be loaded.
    pub fn check_by_auth_events(&self, event: &Event, verified: Verified) -> Result<(), Rejection> {
        let fetch = |id: &str| self.events.by_id(id).map(|known| Rc::clone(&known.event));
        check_state_independent(self.version, event, fetch)?;
        check_join_authorized_signature(self.version, verified)?;
        let implied = self.create_nid.filter(|_| self.version.room_id_is_create_event_id);
        let implied = implied.map(|nid| Rc::clone(&self.events.get(nid).event));
        let auth_events: Vec<Rc<Event>> = event.auth_events().filter_map(fetch).chain(implied).collect();
        check_state_dependent(self.version, event, |event_type, state_key| {
            auth_events.iter().find(|auth_event| auth_event.is(event_type, state_key)).cloned()
        })
    }

    /// Checks 5 and 6: a state of the room must allow the event.
    pub fn check_by_state(&self, event: &Event, state: StateAt) -> Result<(), Rejection> {
        let at = self.auth_state(event, state);
        check_state_dependent(self.version, event, |event_type, state_key| {
            let nid = at.get(&self.keys.get(event_type, state_key)?)?;
            Some(Rc::clone(&self.events.get(*nid).event))
        })
    }

    /// The events of a state that authorize an event, by `key_idx`.
    pub fn auth_state(&self, event: &Event, state: StateAt) -> HashMap<i32, i64> {
        let mut keys = auth_keys(self.version, event);
        keys.push(("m.room.create".to_owned(), String::new()));
        self.keys.load(keys.iter().cloned());
        let key_idxs: Vec<i32> =
            keys.iter().filter_map(|(event_type, state_key)| self.keys.get(event_type, state_key)).collect();
        let nids = state.get_many(self.db, &key_idxs);
        self.events.load(nids.iter().flatten().copied());
        key_idxs.into_iter().zip(nids).filter_map(|(key_idx, nid)| Some((key_idx, nid?))).collect()
    }
}
