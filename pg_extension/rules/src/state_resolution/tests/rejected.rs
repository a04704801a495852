//! Rejected events in a resolution. They take part only through states that other servers claim.

use serde_json::json;

use super::{ALICE, BOB, CAROL, DAVE, Room, since_v2};
use crate::{
    Event,
    room_version::StateResolution,
    state_resolution::{EventNid, memory::MemoryRoom},
};

/// A copy of the room in which one event was rejected.
fn with_rejected(room: Room, name: &str) -> Room {
    let mut memory = MemoryRoom::new(room.version);
    for nid in 0..room.memory.len() as EventNid {
        let event: Event = (**room.memory.event(nid)).clone();
        let rejected = event.event_id() == name;
        memory.push(event.with_rejected(rejected));
    }
    Room { memory, ..room }
}

/// "If a key that is required is not present in the state, then the appropriate state event from the event's
/// `auth_events` is used if the auth event is not rejected."
#[test]
fn rejected_auth_events_do_not_authorize() {
    for version in since_v2() {
        let (mut room, mut state) = Room::new(version);
        let join = ("m.room.member".to_owned(), DAVE.to_owned());
        room.set_member(&mut state, "$dave", DAVE, DAVE, "join");
        // The join is in both auth chains, and so not in the auth difference.
        room.set(&mut state, "$old", DAVE, "org.example.old", DAVE, json!({}));
        let mut with = state.clone();
        room.set(&mut with, "$new", DAVE, "org.example.new", DAVE, json!({}));
        let mut without = state;
        without.remove(&join);
        with.remove(&join);
        let key = ("org.example.new".to_owned(), DAVE.to_owned());

        // Dave may not send state events, but that is another rule.
        let checks = |room: &Room| {
            let resolved = room.resolve(&[with.clone(), without.clone()]);
            assert!(!resolved.resolution.auth_difference.contains(&room.nid("$dave")));
            assert_eq!(resolved.state.get(&key), None);
            let check = resolved.resolution.checks.iter().find(|check| check.nid == room.nid("$new"));
            check.unwrap().verdict.clone().unwrap_err().reason
        };
        assert_eq!(checks(&room), "the sender's power level is too low for this type of event");
        assert_eq!(checks(&with_rejected(room, "$dave")), "the sender is not in the room");
    }
}

/// Events that were rejected by the state before them "are handled as usual by the algorithm": once they are
/// allowed, they are state like any other.
#[test]
fn rejected_events_are_checked_anew() {
    for version in since_v2() {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.set_levels(&mut one, "$rejected", ALICE, 0);
        room.set_topic(&mut two, "$topic", BOB);
        let room = with_rejected(room, "$rejected");
        let resolved = room.resolve(&[one, two]);
        assert_eq!(resolved.levels(), Some("$rejected"));
        assert_eq!(resolved.topic(), None);
    }
}

/// An event that all states have is in the result, even if it was rejected on receipt.
#[test]
fn rejected_events_in_the_unconflicted_state_authorize() {
    let from_unconflicted = since_v2().filter(|version| version.state_resolution == StateResolution::V2);
    for version in from_unconflicted {
        let (mut room, state) = Room::new(version);
        let (mut one, mut two) = (state.clone(), state);
        room.set_topic(&mut one, "$one", BOB);
        room.set_topic(&mut two, "$two", CAROL);
        let room = with_rejected(room, "$bob");
        assert_eq!(room.resolve(&[one, two]).topic(), Some("$one"));
    }
}
