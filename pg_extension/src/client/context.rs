//! `GET /rooms/{roomId}/context/{eventId}`: an event and the events around it. Client-Server API, "Event
//! Context".

use std::rc::Rc;

use matriarch_rules::{filter::Subject, json_text::object_text, sync_token::pagination_token};
use pgrx::{check_for_interrupts, pg_extern};

use crate::{
    base::{
        response::{Response, ResponseRows, respond},
        session::Session,
        spi::Mode,
    },
    client::{
        event::{self, Found},
        messages::{page_limit, parse_filter},
    },
    read::{
        page::{self, Request},
        render::{Renderer, Style},
        state_list,
        stored_event::{Events, StoredEvent},
        timeline::Direction,
    },
};

/// `GET /rooms/{roomId}/context/{eventId}`
///
/// `limit` is the greatest number of events before and after together; if NULL, that of the filter, or 10.
#[pg_extern(stable)]
fn context(
    token_hash: &[u8],
    room_id: &str,
    event_id: &str,
    limit: Option<i64>,
    filter: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let filter = parse_filter(filter)?;
        let limit = page_limit(limit, &filter)?;
        let events = Events::new(db);
        let Found { room, event, after_gap } = event::find(db, &events, &session, Some(room_id), event_id)?;
        // An event without a position lies in a gap: nothing around it is known.
        let is_alone = event.pos.is_none();
        let gap = after_gap.as_ref().and_then(|after| after.pos).unwrap_or(room.first_pos);
        let pos = event.pos.unwrap_or(gap - 1);
        let limit = if is_alone { 0 } else { limit };
        let read = |direction, from, limit| {
            let request = Request { direction, from, to: None, limit, filter: &filter, stops_at_gaps: true };
            page::read(db, &events, &room, &request)
        };
        let before = read(Direction::Backward, pos - 1, limit / 2);
        let after = read(Direction::Forward, pos, limit - limit / 2);

        let shown: Vec<Rc<StoredEvent>> =
            before.events.iter().chain([&event]).chain(&after.events).map(Rc::clone).collect();
        let at = match (is_alone, &after_gap) {
            (false, _) => after.events.last().unwrap_or(&event).after(),
            (true, Some(after)) => after.before(),
            (true, None) => room.readable_state(),
        };
        // A user who is only invited may see an event, but not the room's state.
        let at = at.filter(|_| room.is_readable());
        let mut state = match at {
            Some(at) if filter.lazy_load_members => {
                let mut state = state_list::without_members(db, &events, room.room_nid, at);
                state.extend(state_list::members_who_sent(db, &events, room.room_nid, at, &shown));
                state
            }
            Some(at) => {
                room.await_whole()?;
                state_list::all(db, &events, at)
            }
            None => Vec::new(),
        };
        state.retain(|event| {
            let sender = Some(event.sender.as_str());
            check_for_interrupts!();
            filter.admits(Subject { event_type: &event.event_type, sender, content: event.content() })
        });

        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, &shown)]);
        let style = Style { device_nid: session.device_nid, filter: None };
        let render = |event: &Rc<StoredEvent>| renderer.event(event, &room.reader, style);
        let oldest = before.events.last().unwrap_or(&event).pos.unwrap_or(pos);
        let newest = after.events.last().unwrap_or(&event).pos.unwrap_or(pos);
        let response = Response::new(object_text(|body| {
            body.value("start", pagination_token(oldest - 1)).value("end", pagination_token(newest));
            body.raw("event", &render(&event));
            body.array("events_before", before.events.iter().map(render));
            body.array("events_after", after.events.iter().map(render));
            body.array(
                "state",
                state.iter().map(|event| renderer.state_event(event, Some(&room.reader), style)),
            );
        }));
        // Another server may know what is around it.
        Ok(if is_alone { response.or_elsewhere() } else { response })
    })
}
