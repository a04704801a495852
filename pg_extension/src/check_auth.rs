//! Asking the authorization rules about an event, for people who want to know why.

use std::rc::Rc;

use matriarch_rules::{
    Event, Map, Rejection, auth_types_for_event, check_state_dependent, check_state_independent,
    json::parse_object,
};
use pgrx::{iter::TableIterator, name, pg_extern};

use crate::{
    room::{Room, parse_stored},
    spi::{Db, Mode, connect},
};

/// What the rules say, and by which events of the room's current state.
#[derive(Default)]
struct Verdict {
    rejection: Option<Rejection>,
    auth_events: Vec<String>,
}

const EVENTS: &str =
    "select event_id, json, status = 2 from events where room_nid = $1 and event_id = any($2)";

/// Judges an event, as servers exchange them or as far as it is there, at its room's current state. Its `auth_events` are
/// judged too if it has any. `rule` is the number in the text of the authorization rules of the room's version; without
/// it, `reason` says what was wrong before any rule.
#[pg_extern(stable)]
#[expect(clippy::type_complexity, reason = "the macro reads the columns from here")]
fn check_auth(
    event: &str,
) -> TableIterator<
    'static,
    (
        name!(allowed, bool),
        name!(rule, Option<String>),
        name!(reason, Option<String>),
        name!(auth_events, Vec<String>),
    ),
> {
    TableIterator::once(match connect(Mode::Read, |db| judge(db, event)) {
        Ok(Verdict { rejection: None, auth_events }) => (true, None, None, auth_events),
        Ok(Verdict { rejection: Some(rejection), auth_events }) => {
            (false, Some(rejection.rule.to_owned()), Some(rejection.reason), auth_events)
        }
        Err(reason) => (false, None, Some(reason), Vec::new()),
    })
}

fn judge(db: &Db<'_>, event: &str) -> Result<Verdict, String> {
    let json = parse_object(event).map_err(|error| error.to_string())?;
    // The id only matters to the rules where the event carries it.
    let event_id = json.get("event_id").and_then(|event_id| event_id.as_str()).unwrap_or("$").to_owned();
    let event = Event::new(event_id, json);
    let room_id = event.json().get("room_id").and_then(|room_id| room_id.as_str());
    let room_id = room_id.filter(|room_id| !room_id.contains('\0')).ok_or("the event names no room")?;
    let mut room = Room::read(db, room_id).ok_or("this server does not know the room")?;

    let keys = auth_types_for_event(
        room.version,
        event.event_type(),
        event.sender(),
        event.state_key(),
        event.content(),
    );
    let keys = || keys.iter().map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str()));
    room.load(keys().chain([("m.room.create", "")]));
    let current = |event_type: &str, state_key: &str| {
        room.loaded(event_type, state_key)?.current.as_ref().map(|current| Rc::clone(&current.event))
    };
    let auth_events = keys()
        .filter_map(|(event_type, state_key)| Some(current(event_type, state_key)?.event_id().to_owned()));
    let auth_events: Vec<String> = auth_events.collect();
    let cited = cited_events(&room, &event);
    let independent = if event.json().contains_key("auth_events") || event.event_type() == "m.room.create" {
        check_state_independent(room.version, &event, |event_id| {
            cited.iter().find(|cited| cited.event_id() == event_id)
        })
    } else {
        Ok(())
    };
    let rejection = independent.and_then(|()| check_state_dependent(room.version, &event, current)).err();
    Ok(Verdict { rejection, auth_events })
}

/// The events that the event names as its `auth_events`, and the create event where the room's id names it.
fn cited_events(room: &Room<'_>, event: &Event) -> Vec<Event> {
    let create = room.id.replacen('!', "$", 1);
    let event_ids: Vec<&str> =
        event.auth_events().chain([create.as_str()]).filter(|event_id| !event_id.contains('\0')).collect();
    let rows = room.db.query(EVENTS, &[room.nid.into(), event_ids.into()]);
    rows.map(|row| {
        let json: Map = parse_stored(&row.get::<String>(2));
        Event::new(row.get::<String>(1), json).with_rejected(row.get(3))
    })
    .collect()
}
