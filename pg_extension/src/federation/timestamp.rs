//! `GET /timestamp_to_event` of servers.

use pgrx::pg_extern;
use serde_json::json;

use super::{
    asked_room,
    server_reader::{self, ServerReader},
};
use crate::{
    response::{MatrixError, Response, ResponseRows, respond},
    spi::Mode,
    stored_event::Events,
};

/// How many events that the server may not see are passed over.
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

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`: among events of one time the first in the direction of the
/// search, by the order of the timeline.
#[pg_extern(stable)]
fn federation_timestamp_to_event(origin: &str, room_id: &str, ts: i64, dir: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let mut room = asked_room::open_to_members(db, origin, room_id)?;
        let closest = match dir {
            "f" => AFTER,
            "b" => BEFORE,
            _ => return Err(MatrixError::invalid_param("`dir` is `f` or `b`.")),
        };
        let args = [room.nid.into(), ts.into(), MAX_HIDDEN.into()];
        let nids: Vec<i64> = db.query(closest, &args).map(|row| row.get(1)).collect();
        let events = Events::new(db);
        events.load(nids.iter().copied());
        let found: Vec<_> = nids.into_iter().map(|nid| events.get(nid)).collect();
        server_reader::prepare(&room, &found);
        let reader = ServerReader::new(&mut room, origin);
        let event = found
            .iter()
            .find(|event| reader.sees(&events, event))
            .ok_or_else(|| MatrixError::not_found("There is no event in this direction."))?;
        Ok(Response::json(&json!({ "event_id": event.event_id, "origin_server_ts": event.origin_server_ts })))
    })
}
