//! `GET /timestamp_to_event` of the Server-Server API.

use pgrx::pg_extern;

use super::{
    asked_room,
    server_reader::{self, ServerReader},
};
use crate::{
    base::{
        response::{ResponseRows, respond},
        spi::Mode,
    },
    client::timestamp_to_event::{answer, closest, direction, none},
    read::stored_event::Events,
};

/// `GET /_matrix/federation/v1/timestamp_to_event/{roomId}`
#[pg_extern(stable)]
fn federation_timestamp_to_event(origin: &str, room_id: &str, ts: i64, dir: &str) -> ResponseRows {
    respond(Mode::Read, |db| {
        let mut room = asked_room::open_to_members(db, origin, room_id)?;
        let direction = direction(dir)?;
        let events = Events::new(db);
        let found = closest(db, &events, room.nid, ts, direction);
        server_reader::prepare(&room, &found);
        let reader = ServerReader::new(&mut room, origin);
        let event = found.iter().find(|event| reader.sees(&events, event)).ok_or_else(none)?;
        Ok(answer(event))
    })
}
