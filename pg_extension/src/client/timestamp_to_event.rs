//! `GET /rooms/{roomId}/timestamp_to_event`: the event closest to a time. Client-Server API, "Getting events
//! for a room".

use std::rc::Rc;

use matriarch_wire::ClosestEvent;
use pgrx::{iter::TableIterator, name, pg_extern};

use crate::{
    base::{
        connection::connect,
        response::{self, MatrixError, Response, Result},
        session::Session,
        spi::{Db, Mode},
    },
    read::{
        gaps::{Gap, Gaps},
        readable_room::ReadableRoom,
        stored_event::{Events, StoredEvent},
        timeline::{self, Direction},
        visibility,
    },
};

/// How many events are read to find one that the reader may see.
const MAX_HIDDEN: i64 = 100;

const AFTER: &str = "
    select event_nid
    from events
    where room_nid = $1 and pos is not null and origin_server_ts >= $2
    order by origin_server_ts, pos
    limit $3";

const BEFORE: &str = "
    select event_nid
    from events
    where room_nid = $1 and pos is not null and origin_server_ts <= $2
    order by origin_server_ts desc, pos desc
    limit $3";

/// A row of `matriarch.response`, and the event after a gap that may contain a closer event.
type ClosestRow = (
    name!(status, i16),
    name!(outcome, Option<&'static str>),
    name!(body, String),
    name!(wake_rooms, Option<Vec<i64>>),
    name!(wake_users, Option<Vec<i64>>),
    name!(gap, Option<String>),
);

type ClosestRows = TableIterator<'static, ClosestRow>;

/// `GET /rooms/{roomId}/timestamp_to_event`
#[pg_extern(stable)]
fn timestamp_to_event(token_hash: &[u8], room_id: &str, ts: i64, dir: &str) -> ClosestRows {
    let (result, gap) = connect(Mode::Read, |db| {
        let found = Session::authenticate(db, token_hash).and_then(|session| {
            let events = Events::new(db);
            let direction = direction(dir)?;
            let room = ReadableRoom::open(db, &events, &session, room_id)?;
            Ok(find(db, &events, &room, ts, direction))
        });
        match found {
            Ok((Some(event), gap)) => (Ok(answer(&event)), gap),
            Ok((None, gap)) => (Err(none()), gap),
            Err(error) => (Err(error), None),
        }
    });
    let (status, outcome, body, wake_rooms, wake_users) = response::row(result);
    TableIterator::once((status, outcome, body, wake_rooms, wake_users, gap))
}

/// Reads the parameter `dir`: `f` or `b`; 400 `M_INVALID_PARAM` for anything else.
pub fn direction(dir: &str) -> Result<Direction> {
    match dir {
        "f" => Ok(Direction::Forward),
        "b" => Ok(Direction::Backward),
        _ => Err(MatrixError::invalid_param("`dir` is neither `f` nor `b`.")),
    }
}

/// The events closest to a time in one direction, the closest first; events with the same time are in that
/// direction by position.
pub fn closest(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room_nid: i64,
    ts: i64,
    direction: Direction,
) -> Vec<Rc<StoredEvent>> {
    let sql = if direction == Direction::Forward { AFTER } else { BEFORE };
    let args = [room_nid.into(), ts.into(), MAX_HIDDEN.into()];
    let nids: Vec<i64> = db.query(sql, &args).map(|row| row.get("event_nid")).collect();
    events.load(nids.iter().copied());
    nids.into_iter().map(|nid| events.get(nid)).collect()
}

/// [`ClosestEvent`]
pub fn answer(event: &StoredEvent) -> Response {
    let StoredEvent { event_id, origin_server_ts, .. } = event;
    Response::wire(&ClosestEvent { event_id: event_id.clone(), origin_server_ts: *origin_server_ts })
}

/// 404 `M_NOT_FOUND`
pub fn none() -> MatrixError {
    MatrixError::not_found("There is no event in this direction.")
}

/// The closest event that the reader may see, and the event after a gap that may contain a closer one: the
/// found event or, for the backward direction, the next event.
fn find(
    db: &Db<'_>,
    events: &Events<'_, '_>,
    room: &ReadableRoom,
    ts: i64,
    direction: Direction,
) -> (Option<Rc<StoredEvent>>, Option<String>) {
    let found = closest(db, events, room.room_nid, ts, direction);
    visibility::prepare(db, events, &[(&room.reader, &found)]);
    let seen = found.iter().find(|event| room.reader.sees(db, events, event)).map(Rc::clone);
    let next_to = match (direction, found.first()) {
        (Direction::Forward, event) => event.map(Rc::clone),
        (Direction::Backward, event) => {
            let pos = event.and_then(|event| event.pos).unwrap_or(i64::MIN);
            timeline::read(db, events, room.room_nid, Direction::Forward, (pos, room.upto()), 1).pop()
        }
    };
    let next_to: Vec<Rc<StoredEvent>> = next_to.into_iter().collect();
    let gaps = Gaps::find(db, events, room, &next_to);
    let at_gap = next_to.iter().find(|event| gaps.before(event) == Some(Gap::Open));
    (seen, at_gap.map(|event| event.event_id.clone()))
}
