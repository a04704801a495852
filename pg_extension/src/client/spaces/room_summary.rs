//! `GET /room_summary/{roomIdOrAlias}`

use matriarch_rules::identifiers::is_room_alias;
use pgrx::pg_extern;

use super::{LocalRooms, remote_rooms::RemoteRooms};
use crate::base::{
    response::{MatrixError, Response, ResponseRows, respond},
    session::Session,
    spi::Mode,
};

const ALIAS: &str = "
    select r.room_id from room_aliases a join rooms r using (room_nid) where a.room_alias = $1";

/// `GET /room_summary/{roomIdOrAlias}`
///
/// `token_hash` may be NULL: then the summary is one that any user may see. `elsewhere` has the answers of
/// other servers: an array of [`RoomAnswer`](matriarch_wire::RoomAnswer). The outcome is `elsewhere` if they
/// must be asked.
#[pg_extern(stable)]
fn room_summary(token_hash: Option<&[u8]>, room: &str, elsewhere: Option<&str>) -> ResponseRows {
    respond(Mode::Read, |db| {
        let session = token_hash.map(|hash| Session::authenticate(db, hash)).transpose()?;
        let elsewhere = RemoteRooms::read(elsewhere)?;
        let unknown = || MatrixError::not_found("There is no such room, or you may not see it.");
        let room_id = if is_room_alias(room) {
            db.query_opt(ALIAS, &[room.into()]).map(|row| row.get("room_id")).ok_or_else(unknown)?
        } else {
            room.to_owned()
        };
        let mut rooms = LocalRooms::of(db, session.as_ref().map(|session| session.user_nid));
        let local = rooms.get(&room_id);
        let summary = match local.summary {
            Some(summary) => summary,
            None => match elsewhere.get(&room_id) {
                Some(summary) => summary.ok_or_else(unknown)?,
                None => return Err(unknown().or_elsewhere()),
            },
        };
        if !rooms.may_be_shown(&summary, local.membership.as_deref()) {
            return Err(unknown());
        }
        let mut json = summary.json.clone();
        if session.is_some() {
            let membership = local.membership.unwrap_or_else(|| "leave".to_owned());
            json.insert("membership".to_owned(), membership.into());
        }
        Ok(Response::json(&json.into()))
    })
}
