//! `GET /rooms/{roomId}/messages`: a room's history, page by page. Client-Server API, "Getting events for a
//! room".

use matriarch_rules::{
    filter::{MAX_LIMIT, RoomEventFilter},
    json_text::object_text,
    sync_token::pagination_token,
};
use pgrx::{iter::TableIterator, name, pg_extern};

use crate::{
    base::{
        connection::connect,
        response::{self, MatrixError, Response, Result},
        session::Session,
        spi::{Db, Mode},
        token::{self, Token},
    },
    read::{
        page::{self, Request},
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        state_list,
        stored_event::Events,
        timeline::Direction,
    },
};

/// A row of `matriarch.response`, and the event after the gap at which the page ends.
type MessagesRow = (
    name!(status, i16),
    name!(outcome, Option<&'static str>),
    name!(body, String),
    name!(wake_rooms, Option<Vec<i64>>),
    name!(wake_users, Option<Vec<i64>>),
    name!(gap, Option<String>),
);

type MessagesRows = TableIterator<'static, MessagesRow>;

/// The parameters of a request.
struct Question<'q> {
    room_id: &'q str,
    from: Option<&'q str>,
    to: Option<&'q str>,
    dir: &'q str,
    limit: Option<i64>,
    filter: Option<&'q str>,
    stops_at_gaps: bool,
}

/// `GET /rooms/{roomId}/messages`
///
/// If `limit` is NULL, that of the filter applies, or 10. With `stops_at_gaps` the page ends at a gap whose
/// events other servers may have: the API node can fill the gap and read the page again.
#[pg_extern(stable)]
#[expect(clippy::too_many_arguments, reason = "the parameters of the request")]
fn messages(
    token_hash: &[u8],
    room_id: &str,
    from: Option<&str>,
    to: Option<&str>,
    dir: &str,
    limit: Option<i64>,
    filter: Option<&str>,
    stops_at_gaps: bool,
) -> MessagesRows {
    let question = Question { room_id, from, to, dir, limit, filter, stops_at_gaps };
    let (gap, result) = match connect(Mode::Read, |db| question.answer(db, token_hash)) {
        Ok((response, gap)) => (gap, Ok(response)),
        Err(error) => (None, Err(error)),
    };
    let (status, outcome, body, wake_rooms, wake_users) = response::row(result);
    TableIterator::once((status, outcome, body, wake_rooms, wake_users, gap))
}

impl Question<'_> {
    /// The response, and the event after the gap at which the page ends.
    fn answer(&self, db: &Db<'_>, token_hash: &[u8]) -> Result<(Response, Option<String>)> {
        let session = Session::authenticate(db, token_hash)?;
        let filter = parse_filter(self.filter)?;
        let direction = match self.dir {
            "b" => Direction::Backward,
            "f" => Direction::Forward,
            _ => return Err(MatrixError::invalid_param("`dir` is neither `b` nor `f`.")),
        };
        let limit = page_limit(self.limit, &filter)?;
        let now = token::now(db);
        let parse =
            |name, token: Option<&str>| token.map(|token| Token::parse(db, name, token, &now)).transpose();
        let (from_token, to) = (parse("from", self.from)?, parse("to", self.to)?);

        let events = Events::new(db);
        let room = ReadableRoom::open(db, &events, &session, self.room_id)?;
        let stops_at_gaps = self.stops_at_gaps && room.has_gaps;
        let start = match (&from_token, direction) {
            (Some(token), _) => room.position_of(db, &events, token),
            (None, Direction::Backward) => room.upto(),
            // The room began before the first stored event.
            (None, Direction::Forward) if stops_at_gaps => i64::MIN + 1,
            (None, Direction::Forward) => room.first_pos - 1,
        };
        let to = to.map(|token| room.position_of(db, &events, &token));
        let request = Request { direction, from: start, to, limit, filter: &filter, stops_at_gaps };
        let page = page::read(db, &events, &room, &request);
        let newest = match direction {
            Direction::Backward => page.events.first(),
            Direction::Forward => page.events.last(),
        };
        // Forward, more events may follow after the newest.
        let next = page.next.or_else(|| match direction {
            Direction::Forward if room.goes_on() => newest?.pos,
            _ => None,
        });

        let renderer = Renderer::new(db, &events, Some(&room.room_id));
        renderer.prepare(&[(&room.reader, &page.events)]);
        let style = Style { device_nid: session.device_nid, filter: None };
        let members = newest
            .filter(|_| filter.lazy_load_members)
            .and_then(|event| event.after())
            .map(|at| state_list::members_who_sent(db, &events, room.room_nid, at, &page.events));
        let start = self.from.map_or_else(|| pagination_token(start), str::to_owned);
        let body = object_text(|body| {
            body.value("start", start);
            if let Some(next) = next {
                body.value("end", pagination_token(next));
            }
            body.array("chunk", page.events.iter().map(|event| renderer.event(event, &room.reader, style)));
            if let Some(members) = members {
                body.array(
                    "state",
                    members.iter().map(|event| renderer.state_event(event, Some(&room.reader), style)),
                );
            }
        });
        Ok((Response::new(body), page.gap))
    }
}

/// Reads a `RoomEventFilter` in JSON. `None` gives a filter that admits everything.
pub fn parse_filter(filter: Option<&str>) -> Result<RoomEventFilter> {
    filter.map_or_else(|| Ok(RoomEventFilter::default()), |filter| Ok(RoomEventFilter::parse(filter)?))
}

/// The greatest number of events in a page, by the parameter or else by the filter.
pub fn page_limit(limit: Option<i64>, filter: &RoomEventFilter) -> Result<usize> {
    let Some(limit) = limit else {
        return Ok(filter.limit());
    };
    usize::try_from(limit)
        .map(|limit| limit.min(MAX_LIMIT))
        .map_err(|_| MatrixError::invalid_param("`limit` is negative."))
}
