//! Typing notifications. Client-Server API, "Typing Notifications".

use std::collections::BTreeSet;

use pgrx::{iter::SetOfIterator, pg_extern};

use crate::{
    base::{
        connection::connect,
        lookup::joined_room,
        response::{MatrixError, Response, ResponseRows, respond},
        session::Session,
        spi::{Db, Mode, Row},
    },
    outbox::{self, edus::RoomEdu},
};

/// Two minutes: four times the usual timeout of clients.
const MAX_TIMEOUT_MS: i64 = 120_000;

/// Returns whether the user was not typing before.
const START: &str = "
    insert into typing (room_nid, user_nid, expires_at, typing)
    values ($1, $2, now() + $3 * interval '1 millisecond', true)
    on conflict (room_nid, user_nid) do update
    set expires_at = excluded.expires_at,
        typing = true,
        xid = case when typing.typing then typing.xid else excluded.xid end
    returning xid = pg_current_xact_id() as is_news";

const STOP: &str = "
    update typing
    set typing = false, expires_at = now(), xid = pg_current_xact_id()
    where room_nid = $1 and user_nid = $2 and typing
    returning true as is_news";

const STOP_FOR: &str = "
    update typing
    set typing = false, expires_at = now(), xid = pg_current_xact_id()
    where room_nid = $1 and user_nid = (select user_nid from users where user_id = $2) and typing";

/// Ends the typing of a user who left the room. The caller wakes the room.
pub fn stop_for(db: &Db<'_>, room_nid: i64, user_id: &str) {
    db.execute(STOP_FOR, &[room_nid.into(), user_id.into()]);
}

/// `PUT /rooms/{roomId}/typing/{userId}`
///
/// `timeout` is in milliseconds. Wakes the room only if the list of typing users changed.
#[pg_extern(volatile)]
fn set_typing(token_hash: &[u8], room_id: &str, user_id: &str, typing: bool, timeout: i64) -> ResponseRows {
    respond(Mode::Write, |db| {
        let session = Session::authenticate(db, token_hash)?;
        session.require_self(user_id)?;
        let room_nid = joined_room(db, &session, room_id)?;
        if timeout < 0 {
            return Err(MatrixError::invalid_param("`timeout` must not be negative."));
        }
        let is_shared = outbox::edus::queue(
            db,
            "m.typing",
            vec![outbox::edus::typing(room_nid, room_id, user_id, typing)],
        );
        let row = if typing {
            let timeout = timeout.min(MAX_TIMEOUT_MS);
            db.query_opt(START, &[room_nid.into(), session.user_nid.into(), timeout.into()])
        } else {
            db.query_opt(STOP, &[room_nid.into(), session.user_nid.into()])
        };
        let changed = row.is_some_and(|row| row.get("is_news"));
        let mut response = Response::empty();
        if changed {
            response = response.wake_room(room_nid);
        }
        if is_shared {
            response = response.wake_user(outbox::SENDERS);
        }
        Ok(response)
    })
}

/// Skips rows that another node is working on.
const EXPIRE: &str = "
    with expired as (
        select room_nid, user_nid from typing where typing and expires_at <= now() for update skip locked
    )
    update typing t
    set typing = false, xid = pg_current_xact_id()
    from expired e
    where t.room_nid = e.room_nid and t.user_nid = e.user_nid
    returning t.room_nid, t.user_nid";

const EXPIRED: &str = "
    select r.room_nid, r.room_id, u.user_id
    from unnest($1::bigint[], $2::bigint[]) as t (room_nid, user_nid)
    join rooms r on r.room_nid = t.room_nid
    join users u on u.user_nid = t.user_nid
    join server s on s.server_name = u.server_name
    where r.other_servers > 0";

const PRUNE: &str = "
    with stopped as (
        select room_nid, user_nid
        from typing
        where not typing and expires_at < now() - interval '1 hour'
        for update skip locked
    )
    delete from typing t using stopped s where t.room_nid = s.room_nid and t.user_nid = s.user_nid";

/// Ends expired typing, and returns the rooms to wake. API nodes call it about once a second.
#[pg_extern(volatile)]
fn expire_typing() -> SetOfIterator<'static, i64> {
    let rooms: BTreeSet<i64> = connect(Mode::Write, |db| {
        db.execute(PRUNE, &[]);
        let (rooms, users): (Vec<i64>, Vec<i64>) =
            db.query(EXPIRE, &[]).map(|row| (row.get::<i64>("room_nid"), row.get::<i64>("user_nid"))).unzip();
        if !rooms.is_empty() {
            let of_row = |row: Row<'_>| {
                let (room_id, user_id): (String, String) = (row.get("room_id"), row.get("user_id"));
                outbox::edus::typing(row.get("room_nid"), &room_id, &user_id, false)
            };
            let ended: Vec<RoomEdu> =
                db.query(EXPIRED, &[rooms.clone().into(), users.into()]).map(of_row).collect();
            outbox::edus::queue(db, "m.typing", ended);
        }
        rooms.into_iter().collect()
    });
    SetOfIterator::new(rooms)
}
