//! Applies the authorization rules to an event and tells the rule that rejects it.

use std::rc::Rc;

use matriarch_rules::{Event, Rejection, check_state_independent, json::parse_object};
use pgrx::{iter::TableIterator, name, pg_extern};

use crate::{
    base::{
        connection::connect,
        spi::{Db, Mode},
    },
    room::{
        Room, authorization::auth_keys, graph_events::GraphEvents, resolve::RoomGraph, state_at::StateAt,
        state_keys::StateKeys,
    },
};

/// The result, and the state events that the rules read.
#[derive(Default)]
struct Verdict {
    rejection: Option<Rejection>,
    auth_events: Vec<String>,
}

/// Authorizes an event by the current state of its room, or by the state before the event `at`. `event` is a
/// PDU; keys that the rules do not need may be absent. If it has `auth_events`, it is authorized by them too.
///
/// `rule` is the number in the specification's authorization rules of the room version. It is NULL if the
/// event is rejected before any rule; `reason` is set then too.
#[pg_extern(stable)]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn check_auth(
    event: &str,
    at: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(allowed, bool),
        name!(rule, Option<String>),
        name!(reason, Option<String>),
        name!(auth_events, Vec<String>),
    ),
> {
    TableIterator::once(match connect(Mode::Read, |db| judge(db, event, at)) {
        Ok(Verdict { rejection: None, auth_events }) => (true, None, None, auth_events),
        Ok(Verdict { rejection: Some(rejection), auth_events }) => {
            (false, Some(rejection.rule.to_owned()), Some(rejection.reason), auth_events)
        }
        Err(reason) => (false, None, Some(reason), Vec::new()),
    })
}

fn judge(db: &Db<'_>, event: &str, at: Option<&str>) -> Result<Verdict, String> {
    let json = parse_object(event).map_err(|error| error.to_string())?;
    // The rules need the id only in room versions whose events carry it.
    let event_id = json.get("event_id").and_then(|event_id| event_id.as_str()).unwrap_or("$").to_owned();
    let event = Event::new(event_id, json);
    let room_id = event.json().get("room_id").and_then(|room_id| room_id.as_str());
    let room_id = room_id.filter(|room_id| !room_id.contains('\0')).ok_or("the event names no room")?;
    let room = Room::read(db, room_id).ok_or("this server does not know the room")?;
    let events = GraphEvents::new(db);
    let keys = StateKeys::new(db, room.nid);
    let graph = RoomGraph::new(&room, &events, &keys);
    let state = match at {
        None => StateAt::root(room.header.root),
        Some(at) => {
            events.load_ids([at]);
            let at = events.by_id(at).filter(|at| at.room_nid == room.nid);
            let at = at.ok_or("the event to judge it at is not in the room")?;
            StateAt::root(at.state_before.ok_or("the state before that event is not known")?)
        }
    };
    let used = graph.auth_state(&event, state);
    let auth_events = auth_keys(room.version, &event).into_iter().filter_map(|(event_type, state_key)| {
        let nid = used.get(&keys.get(&event_type, &state_key)?)?;
        Some(events.get(*nid).event.event_id().to_owned())
    });
    let auth_events: Vec<String> = auth_events.collect();
    events.load_ids(event.auth_events());
    let independent = if event.json().contains_key("auth_events") || event.event_type() == "m.room.create" {
        check_state_independent(room.version, &event, |event_id| {
            events.by_id(event_id).map(|cited| Rc::clone(&cited.event))
        })
    } else {
        Ok(())
    };
    let rejection = independent.and_then(|()| graph.check_by_state(&event, state)).err();
    Ok(Verdict { rejection, auth_events })
}
