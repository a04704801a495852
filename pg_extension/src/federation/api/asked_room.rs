//! Opens the room that a request of another server is about, if the server may ask about it.

use matriarch_rules::server_acl;

use super::server_reader::ServerReader;
use crate::{
    base::{
        response::{MatrixError, Result},
        spi::Db,
    },
    read::stored_event::Events,
    room::Room,
};

const STATES_BEFORE: &str = "
    select distinct e.state_before
    from unnest($2) as wanted (event_id)
    cross join lateral (
        select room_nid, state_before from events where event_id = wanted.event_id offset 0
    ) e
    where e.room_nid = $1";

/// Reads a room without its lock, if the room's access control list admits the origin.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` if the room does not exist, 403 `M_FORBIDDEN` if the access control list denies the
/// origin.
pub fn open<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    admit(&mut room, origin)?;
    Ok(room)
}

/// Like [`open`], if the origin has a joined user in the room.
///
/// # Errors
///
/// As [`open`], and 403 `M_FORBIDDEN` if the origin has none.
pub fn open_to_members<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let room = open(db, origin, room_id)?;
    if room.has_joined_member_of(origin) { Ok(room) } else { Err(not_in_room()) }
}

fn not_in_room() -> MatrixError {
    MatrixError::forbidden("Your server is not in this room.")
}

/// Like [`open_to_members`], also if the origin had a joined user before the events that it asks about. A
/// former member may need the events before its leave to learn that it has left.
///
/// # Errors
///
/// As for [`open_to_members`].
pub fn open_to_former_members<'d>(
    db: &'d Db<'d>,
    origin: &str,
    room_id: &str,
    event_ids: &[&str],
) -> Result<Room<'d>> {
    let mut room = open(db, origin, room_id)?;
    if room.has_joined_member_of(origin) || had_joined_member_of(&mut room, origin, event_ids) {
        Ok(room)
    } else {
        Err(not_in_room())
    }
}

/// Like [`open`], if this server is in the room.
///
/// # Errors
///
/// As [`open`], and 404 `M_NOT_FOUND` if no local user is joined: the room's state here may be outdated.
pub fn open_if_joined<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    check_joined(&room)?;
    admit(&mut room, origin)?;
    Ok(room)
}

/// The error 404 `M_NOT_FOUND`.
pub fn unknown() -> MatrixError {
    MatrixError::not_found("The room is not known.")
}

/// 403 `M_FORBIDDEN` if the room's access control list denies the server.
pub fn admit(room: &mut Room<'_>, server_name: &str) -> Result<()> {
    match room.state("m.room.server_acl", "") {
        Some(acl) if !server_acl::admits(acl.event.content(), server_name) => {
            Err(MatrixError::forbidden("The room's server access control list denies your server."))
        }
        _ => Ok(()),
    }
}

/// 404 `M_NOT_FOUND` if no local user is joined.
pub fn check_joined(room: &Room<'_>) -> Result<()> {
    if room.has_joined_member_of(&room.signer.server_name) { Ok(()) } else { Err(unknown()) }
}

/// Whether a user of the server was joined in the states before these events. At least one of the events must
/// be stored.
fn had_joined_member_of(room: &mut Room<'_>, server_name: &str, event_ids: &[&str]) -> bool {
    let args = [room.nid.into(), event_ids.to_vec().into()];
    let roots: Vec<Option<i64>> =
        room.db.query(STATES_BEFORE, &args).map(|row| row.opt("state_before")).collect();
    let events = Events::new(room.db);
    let reader = ServerReader::new(room, server_name);
    !roots.is_empty() && roots.iter().all(|root| root.is_some_and(|root| reader.was_joined(&events, root)))
}
