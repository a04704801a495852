//! Selects the state events that authorize an event, and checks the rules on an event's `auth_events`.

use std::ops::Deref;

use serde_json::Value;

use super::rule::{Rejection, Rule};
use crate::{Event, Map, RoomVersion};

/// The state keys of the events that authorize an event, each once, as `type` and `state_key`.
///
/// The server that makes an event puts those that are in the state into its `auth_events`. Spec: [auth events
/// selection](https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection). Since room version 12
/// the create event is not among them.
pub fn auth_types_for_event(
    version: &RoomVersion,
    event_type: &str,
    sender: &str,
    state_key: Option<&str>,
    content: &Map,
) -> Vec<(String, String)> {
    if event_type == "m.room.create" {
        return Vec::new();
    }
    let mut types: Vec<(&str, &str)> = Vec::with_capacity(6);
    let mut add = |event_type, state_key| {
        if !types.contains(&(event_type, state_key)) {
            types.push((event_type, state_key));
        }
    };
    if !version.room_id_is_create_event_id {
        add("m.room.create", "");
    }
    add("m.room.power_levels", "");
    add("m.room.member", sender);
    if event_type == "m.room.member" {
        if let Some(target) = state_key {
            add("m.room.member", target);
        }
        let membership = content.get("membership").and_then(Value::as_str);
        if matches!(membership, Some("join" | "invite" | "knock")) {
            add("m.room.join_rules", "");
        }
        if membership == Some("invite")
            && let Some(token) = third_party_token(content)
        {
            add("m.room.third_party_invite", token);
        }
        if membership == Some("join")
            && version.restricted_joins
            && let Some(authorizer) = content.get("join_authorised_via_users_server").and_then(Value::as_str)
        {
            add("m.room.member", authorizer);
        }
    }
    types.into_iter().map(|(event_type, state_key)| (event_type.to_owned(), state_key.to_owned())).collect()
}

fn third_party_token(content: &Map) -> Option<&str> {
    content.get("third_party_invite")?.get("signed")?.get("token")?.as_str()
}

/// Rule 2 (3 since room version 12): considering the event's `auth_events`, all of its clauses.
pub(super) fn check_auth_events<E: Deref<Target = Event>>(
    version: &RoomVersion,
    event: &Event,
    fetch: impl Fn(&str) -> Option<E>,
) -> Result<(), Rejection> {
    let reject = |rule, reason: &str, auth_event: &str| {
        Err(Rejection::new(version, rule, format!("auth event {auth_event} {reason}")))
    };
    let mut auth_events = Vec::with_capacity(10);
    for event_id in event.auth_events() {
        match fetch(event_id) {
            Some(auth_event) => auth_events.push(auth_event),
            None => return reject(Rule::AuthEvents, "is unknown", event_id),
        }
    }
    let key = |event: &'_ E| (event.event_type().to_owned(), event.state_key().map(str::to_owned));

    // 2.1. If there are duplicate entries for a given `type` and `state_key` pair, reject.
    for (index, auth_event) in auth_events.iter().enumerate() {
        if auth_events[..index].iter().any(|earlier| key(earlier) == key(auth_event)) {
            return reject(Rule::AuthEventsDuplicate, "is a duplicate", auth_event.event_id());
        }
    }
    // 2.2. If there are entries whose `type` and `state_key` don't match those specified by the auth events
    // selection algorithm, reject.
    let selected =
        auth_types_for_event(version, event.event_type(), event.sender(), event.state_key(), event.content());
    for auth_event in &auth_events {
        if !selected.iter().any(|(event_type, state_key)| auth_event.is(event_type, state_key)) {
            return reject(Rule::AuthEventsNotSelected, "is not one that is selected", auth_event.event_id());
        }
    }
    // 2.3. If there are entries which were themselves rejected under the checks performed on receipt of a
    // PDU, reject.
    for auth_event in &auth_events {
        if auth_event.rejected() {
            return reject(Rule::AuthEventsRejected, "was rejected", auth_event.event_id());
        }
    }
    // 2.4. Until room version 11: if there is no `m.room.create` event among the entries, reject.
    if !version.room_id_is_create_event_id && !auth_events.iter().any(|event| event.is("m.room.create", "")) {
        return Err(Rejection::new(
            version,
            Rule::AuthEventsNoCreate,
            "no create event is among the auth events",
        ));
    }
    // 2.5. If any event in `auth_events` has a `room_id` which does not match that of the event being
    // authorized, reject.
    for auth_event in &auth_events {
        if auth_event.room_id() != event.room_id() {
            return reject(Rule::AuthEventsOtherRoom, "is of another room", auth_event.event_id());
        }
    }
    Ok(())
}
