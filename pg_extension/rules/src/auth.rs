//! The authorization rules: whether a room accepts an event, by its `auth_events` and by a state of the room.
//!
//! Spec: "Authorisation rules" of each room version, e.g. [version
//! 12](https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules). Each rule is a variant of [`Rule`],
//! which knows its number in every room version.

use std::ops::Deref;

use serde_json::Value;

use crate::{
    Event, RoomVersion,
    identifiers::same_server,
    power_levels::{LevelName, PowerLevels, UserLevel},
};

mod create;
mod member;
mod power_levels;
mod rule;
mod selection;
mod state;
mod third_party_invite;

pub use member::check_join_authorized_signature;
pub use rule::{Rejection, Rule};
pub use selection::auth_types_for_event;
use state::State;
pub use third_party_invite::{InviteKey, signing_keys};

/// Checks the rules that need no state of the room: the rules on create events and on an event's
/// `auth_events`.
///
/// Call it once for each received event. `fetch` finds an event by its id, with [`Event::rejected`] set
/// correctly. The caller must have fetched the `auth_events`: an event is rejected if one of them is not
/// found. In room versions where the room's id is the create event's, `fetch` must also find the create
/// event.
pub fn check_state_independent<E: Deref<Target = Event>>(
    version: &RoomVersion,
    event: &Event,
    fetch: impl Fn(&str) -> Option<E>,
) -> Result<(), Rejection> {
    if event.event_type() == "m.room.create" {
        return create::check(version, event);
    }
    if version.room_id_is_create_event_id {
        check_room_id(version, event, &fetch)?;
    }
    selection::check_auth_events(version, event, &fetch)
}

/// Since room version 12. Rule 2: if the event's `room_id` is not an event id for an accepted (not rejected)
/// `m.room.create` event, with the sigil `!` instead of `$`, reject.
fn check_room_id<E: Deref<Target = Event>>(
    version: &RoomVersion,
    event: &Event,
    fetch: impl Fn(&str) -> Option<E>,
) -> Result<(), Rejection> {
    let create = event
        .room_id()
        .and_then(|room_id| room_id.strip_prefix('!'))
        .and_then(|hash| fetch(&format!("${hash}")));
    match create {
        Some(create) if create.is("m.room.create", "") && !create.rejected() => Ok(()),
        _ => Err(Rejection::new(
            version,
            Rule::RoomIdOfCreateEvent,
            "the room id is not that of an accepted create event",
        )),
    }
}

/// Checks the rules that depend on the state of the room.
///
/// Call it with the state that consists of the event's `auth_events`, with the state before the event, and
/// with the current state. `fetch_state` finds the event with a `type` (first argument) and a `state_key`
/// (second). It must find the create event for `("m.room.create", "")` in every room version.
pub fn check_state_dependent<E: Deref<Target = Event>>(
    version: &RoomVersion,
    event: &Event,
    fetch_state: impl Fn(&str, &str) -> Option<E>,
) -> Result<(), Rejection> {
    if event.event_type() == "m.room.create" {
        return Ok(());
    }
    let reject = |rule, reason: &str| Err(Rejection::new(version, rule, reason));
    let Some(create) = fetch_state("m.room.create", "") else {
        return reject(Rule::NotFederated, "the room has no create event");
    };
    // If `m.federate` of the create event is `false`, and the sender's domain is not that of the create
    // event's sender, reject.
    if create.content().get("m.federate") == Some(&Value::Bool(false))
        && !same_server(event.sender(), create.sender())
    {
        return reject(Rule::NotFederated, "the room is not federated");
    }
    if version.special_case_aliases && event.event_type() == "m.room.aliases" {
        return check_aliases(version, event);
    }
    let state = State { version, create, fetch: fetch_state };
    if event.event_type() == "m.room.member" {
        return member::check(&state, event);
    }
    // If the sender's current membership state is not `join`, reject.
    if !state.membership(event.sender()).is_join() {
        return reject(Rule::SenderNotJoined, "the sender is not in the room");
    }

    let current = state.power_levels_event();
    let levels = PowerLevels::new(version, &state.create, current.as_deref());
    if event.event_type() == "m.room.third_party_invite" {
        return check_third_party_invite(version, event, &levels);
    }
    let malformed = Rejection::because(version, Rule::RequiredPowerLevel);
    let sender_level = levels.user_level(event.sender()).map_err(malformed)?;
    let required = levels.event_level(event.event_type(), event.is_state()).map_err(malformed)?;
    // If the event type's required power level is greater than the sender's power level, reject.
    if !sender_level.reaches(required) {
        return reject(
            Rule::RequiredPowerLevel,
            "the sender's power level is too low for this type of event",
        );
    }
    // If the event has a `state_key` that starts with an `@` and does not match the sender, reject.
    if event.state_key().is_some_and(|state_key| state_key.starts_with('@') && state_key != event.sender()) {
        return reject(Rule::StateKeyOfOther, "the state key is another user's");
    }
    match event.event_type() {
        "m.room.power_levels" => power_levels::check(&state, event, current.as_deref(), sender_level),
        "m.room.redaction" if version.special_case_redaction => {
            check_redaction(version, event, &levels, sender_level)
        }
        _ => Ok(()),
    }
}

/// Until room version 5. If type is `m.room.aliases`: if the event has no `state_key`, reject; if the
/// sender's domain does not match `state_key`, reject; otherwise, allow.
fn check_aliases(version: &RoomVersion, event: &Event) -> Result<(), Rejection> {
    let Some(state_key) = event.state_key() else {
        return Err(Rejection::new(version, Rule::AliasesNoStateKey, "no state key"));
    };
    if crate::identifiers::server_name(event.sender()) != Some(state_key) {
        return Err(Rejection::new(
            version,
            Rule::AliasesOtherServer,
            "the state key is not the sender's server",
        ));
    }
    Ok(())
}

/// If type is `m.room.third_party_invite`: allow if and only if the sender's current power level is greater
/// than or equal to the invite level.
fn check_third_party_invite(
    version: &RoomVersion,
    event: &Event,
    levels: &PowerLevels<'_>,
) -> Result<(), Rejection> {
    let malformed = Rejection::because(version, Rule::ThirdPartyInviteLevel);
    let sender_level = levels.user_level(event.sender()).map_err(malformed)?;
    let invite_level = levels.level(LevelName::Invite).map_err(malformed)?;
    if sender_level.reaches(invite_level) {
        Ok(())
    } else {
        Err(Rejection::new(
            version,
            Rule::ThirdPartyInviteLevel,
            "the sender's power level is too low to invite",
        ))
    }
}

/// Until room version 2. If type is `m.room.redaction`: if the sender's power level is greater than or
/// equal to the redact level, allow; if the domain of the redacted event's id is that of the redaction's
/// id, allow; otherwise, reject.
fn check_redaction(
    version: &RoomVersion,
    event: &Event,
    levels: &PowerLevels<'_>,
    sender_level: UserLevel,
) -> Result<(), Rejection> {
    let malformed = Rejection::because(version, Rule::Redaction);
    let redact_level = levels.level(LevelName::Redact).map_err(malformed)?;
    if sender_level.reaches(redact_level)
        || event.redacts(version).is_some_and(|redacts| same_server(redacts, event.event_id()))
    {
        Ok(())
    } else {
        Err(Rejection::new(version, Rule::Redaction, "the sender may not redact events of other servers"))
    }
}

#[cfg(test)]
mod tests;
