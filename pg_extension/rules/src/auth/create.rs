//! Rule 1: create events.

use serde_json::Value;

use super::rule::{Rejection, Rule};
use crate::{
    Event, RoomVersion,
    identifiers::{is_user_id, same_server},
    room_version::room_version,
};

/// Rule 1: if type is `m.room.create`, all of its clauses.
pub(super) fn check(version: &RoomVersion, event: &Event) -> Result<(), Rejection> {
    let reject = |rule, reason: &str| Err(Rejection::new(version, rule, reason));
    let content = event.content();

    // 1.1. If it has any `prev_events`, reject.
    if event.prev_events().next().is_some() {
        return reject(Rule::CreatePrevEvents, "a create event has no previous events");
    }
    // 1.2. If the domain of the `room_id` does not match the domain of the `sender`, reject.
    // Since room version 12: if the event has a `room_id`, reject.
    if version.room_id_is_create_event_id {
        if event.json().contains_key("room_id") {
            return reject(Rule::CreateRoomId, "a create event has no room id");
        }
    } else if !event.room_id().is_some_and(|room_id| same_server(room_id, event.sender())) {
        return reject(Rule::CreateRoomId, "the room id is not of the sender's server");
    }
    // 1.3. If `content.room_version` is present and is not a recognized version, reject.
    if let Some(id) = content.get("room_version")
        && id.as_str().and_then(room_version).is_none()
    {
        return reject(Rule::CreateRoomVersion, "the room version is not a recognized one");
    }
    // 1.4. Until room version 10: if `content` has no `creator` property, reject.
    if !version.creator_is_sender && !content.contains_key("creator") {
        return reject(Rule::CreateCreator, "the create event names no creator");
    }
    // 1.4. Since room version 12: if `additional_creators` is present in `content` and is not an array of
    // strings where each string passes the same user ID validation applied to `sender`, reject.
    if version.privileged_creators
        && let Some(creators) = content.get("additional_creators")
        && !creators.as_array().is_some_and(|creators| creators.iter().all(is_user))
    {
        return reject(Rule::CreateAdditionalCreators, "the additional creators are not user ids");
    }
    Ok(())
}

fn is_user(value: &Value) -> bool {
    value.as_str().is_some_and(is_user_id)
}
