//! `GET /events`: the deprecated event stream, and for one room its use in previews. Client-Server API, "Room
//! Previews".

use matriarch_rules::{
    filter::{Filter, MAX_LIMIT, RoomEventFilter},
    json_text::object_text,
    sync_token::{SyncToken, pagination_token},
};
use pgrx::{iter::TableIterator, pg_extern};

use crate::{
    base::{
        connection::connect,
        response::Result,
        session::Session,
        spi::{Db, Mode},
        token::{self, Token, sync_token},
    },
    client::sync::{self, Answer, Asker, SyncRows},
    read::{
        page::{self, Request},
        readable_room::ReadableRoom,
        render::{Renderer, Style},
        stored_event::Events,
        timeline::Direction,
    },
};

/// `GET /events`, of all rooms that the user is joined to, or of one room that they may read.
///
/// Without `from` the stream begins now. `presence`: whether presence is enabled on this server.
#[pg_extern(stable)]
fn events(token_hash: &[u8], from: Option<&str>, room_id: Option<&str>, presence: bool) -> SyncRows {
    let answer = connect(Mode::Read, |db| {
        let session = Session::authenticate(db, token_hash)?;
        match room_id {
            Some(room_id) => of_room(db, session, from, room_id, presence),
            None => of_all(db, session, from, presence),
        }
    });
    TableIterator::once(sync::row(answer))
}

fn of_room(
    db: &Db<'_>,
    session: Session,
    from: Option<&str>,
    room_id: &str,
    presence: bool,
) -> Result<Answer> {
    let events = Events::new(db);
    let now = now(db);
    let from = from.map(|from| Token::parse(db, "from", from, &now)).transpose()?;
    let room = ReadableRoom::open(db, &events, &session, room_id)?;
    let start = from.as_ref().map_or(room.upto(), |token| room.position_of(db, &events, token));
    let since = match from {
        Some(Token::Sync(token)) => Some(token),
        // Such a token does not tell which receipts and typing users the client knows.
        Some(Token::Position(_)) => None,
        None => Some(now.clone()),
    };
    let asker = asker(session, since, presence);
    let filter = RoomEventFilter::default();
    let direction = Direction::Forward;
    let page = page::read(
        db,
        &events,
        &room,
        &Request {
            direction,
            from: start,
            to: None,
            limit: MAX_LIMIT,
            filter: &filter,
            stops_at_gaps: false,
        },
    );

    let renderer = Renderer::new(db, &events, Some(&room.room_id));
    renderer.prepare(&[(&room.reader, &page.events)]);
    let style = Style { device_nid: asker.session.device_nid, filter: None };
    let mut chunk: Vec<String> =
        page.events.iter().map(|event| renderer.event(event, &room.reader, style)).collect();
    let end = match page.next {
        Some(next) => pagination_token(next),
        None if room.goes_on() => {
            chunk.extend(sync::new_ephemeral_events(db, &asker, room.room_nid, room_id));
            now.to_string()
        }
        None => pagination_token(room.upto().max(start)),
    };
    let body = object_text(|body| {
        body.value("start", pagination_token(start)).value("end", end).array("chunk", &chunk);
    });
    let user_nid = asker.session.user_nid;
    let (changed, room_nids) = (!chunk.is_empty(), vec![room.room_nid]);
    Ok(Answer { body, changed, user_nid, room_nids, acknowledged_by: None })
}

fn of_all(db: &Db<'_>, session: Session, from: Option<&str>, presence: bool) -> Result<Answer> {
    let now = now(db);
    let since = from.map_or_else(|| Ok(now.clone()), |from| sync_token(db, "from", from, &now))?;
    let start = since.to_string();
    let asker = asker(session, Some(since), presence);
    let events = Events::new(db);
    let news = sync::new_events(db, &events, &asker, &now);
    let body = object_text(|body| {
        body.value("start", start).value("end", now.to_string()).array("chunk", &news);
    });
    let user_nid = asker.session.user_nid;
    let room_nids = sync::joined_rooms(db, user_nid);
    Ok(Answer { body, changed: !news.is_empty(), user_nid, room_nids, acknowledged_by: None })
}

/// The present as a token that acknowledges no send-to-device messages, as they are not among the events.
fn now(db: &Db<'_>) -> SyncToken {
    token::now(db).acknowledging(Some(0))
}

fn asker(session: Session, since: Option<SyncToken>, presence: bool) -> Asker {
    Asker {
        session,
        since,
        filter: Filter::with_timeline_limit(MAX_LIMIT).into(),
        full_state: false,
        use_state_after: false,
        presence,
        state_key: "state",
    }
}
