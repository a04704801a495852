//! `GET /rooms/{roomId}/messages`: a room's history, page by page. Client-Server API, "Getting events for a room".

use pgrx::pg_extern;

use crate::{
    filter::{EventFilter, MAX_LIMIT},
    json_text::object_text,
    page::{self, Request},
    readable_room::ReadableRoom,
    render::{Renderer, Style},
    response::{MatrixError, Response, ResponseRows, Result, respond},
    session::Session,
    spi::Mode,
    state_at::StateAt,
    state_list,
    stored_event::Events,
    timeline::Direction,
    token::{SyncToken, Token, place},
};

/// `GET /rooms/{roomId}/messages`
///
/// `limit` absent: the filter's, or 10.
#[pg_extern(stable)]
fn messages(
    token_hash: &[u8],
    room_id: &str,
    from: Option<&str>,
    to: Option<&str>,
    dir: &str,
    limit: Option<i64>,
    filter: Option<&str>,
) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        let filter = parse_filter(filter)?;
        let direction = match dir {
            "b" => Direction::Backward,
            "f" => Direction::Forward,
            _ => return Err(MatrixError::invalid_param("`dir` is neither `b` nor `f`.")),
        };
        let limit = page_limit(limit, &filter)?;
        let now = SyncToken::current(db);
        let parse =
            |name, token: Option<&str>| token.map(|token| Token::parse(db, name, token, &now)).transpose();
        let (from_token, to) = (parse("from", from)?, parse("to", to)?);

        let events = Events::new(db);
        let room = ReadableRoom::open(db, &events, &session, room_id)?;
        let start = match (&from_token, direction) {
            (Some(token), _) => room.place(db, &events, token),
            (None, Direction::Backward) => room.upto(),
            (None, Direction::Forward) => room.first_pos - 1,
        };
        let to = to.map(|token| room.place(db, &events, &token));
        let page =
            page::read(db, &events, &room, &Request { direction, from: start, to, limit, filter: &filter });

        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, &page.events)]);
        let style = Style { device_nid: session.device_nid, filter: None };
        let newest = match direction {
            Direction::Backward => page.events.first(),
            Direction::Forward => page.events.last(),
        };
        let members = newest
            .filter(|_| filter.lazy_load_members)
            .and_then(|event| StateAt::after(event))
            .map(|at| state_list::members_who_sent(db, &events, room.room_nid, at, &page.events));
        let start = from.map_or_else(|| place(start), str::to_owned);
        Ok(Response::new(object_text(|body| {
            body.value("start", start);
            if let Some(next) = page.next {
                body.value("end", place(next));
            }
            body.array("chunk", page.events.iter().map(|event| renderer.event(event, &room.reader, style)));
            if let Some(members) = members {
                body.array("state", members.iter().map(|event| renderer.state_event(event, style)));
            }
        })))
    })
}

/// Reads a `RoomEventFilter` in JSON; absent is one that admits everything.
pub fn parse_filter(filter: Option<&str>) -> Result<EventFilter> {
    filter.map_or_else(|| Ok(EventFilter::default()), EventFilter::parse)
}

/// How many events are wanted, by the parameter or else by the filter.
pub fn page_limit(limit: Option<i64>, filter: &EventFilter) -> Result<usize> {
    let Some(limit) = limit else {
        return Ok(filter.limit());
    };
    usize::try_from(limit)
        .map(|limit| limit.min(MAX_LIMIT))
        .map_err(|_| MatrixError::invalid_param("`limit` is negative."))
}
