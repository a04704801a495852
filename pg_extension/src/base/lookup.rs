//! Finds the room that a request names, for requests that do not append.

use crate::base::{
    response::{MatrixError, Result},
    session::Session,
    spi::Db,
};

/// The room's nid; 400 `M_INVALID_PARAM` if `room_id` is no room id, 404 `M_NOT_FOUND` if the room is not
/// known.
pub fn known_room(db: &Db<'_>, room_id: &str) -> Result<i64> {
    if !room_id.starts_with('!') || room_id.len() > 255 {
        return Err(MatrixError::invalid_param("This is not a valid room ID."));
    }
    db.query_opt("select room_nid from rooms where room_id = $1", &[room_id.into()])
        .map(|row| row.get("room_nid"))
        .ok_or_else(|| MatrixError::not_found("The room is not known."))
}

const JOINED_ROOM: &str = "
    select r.room_nid
    from rooms r
    join memberships m using (room_nid)
    where r.room_id = $1 and m.user_nid = $2 and m.membership = 'join'";

/// The nid of a room that the user is joined to; 403 `M_FORBIDDEN` for other rooms and for unknown ones.
pub fn joined_room(db: &Db<'_>, session: &Session, room_id: &str) -> Result<i64> {
    db.query_opt(JOINED_ROOM, &[room_id.into(), session.user_nid.into()])
        .map(|row| row.get("room_nid"))
        .ok_or_else(|| MatrixError::forbidden("You are not in this room."))
}
