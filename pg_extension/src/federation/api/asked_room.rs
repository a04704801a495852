//! A room that another server asks about.

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

/// Finds a room, to look at it without its lock, for a server that its access control list admits.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` if the room is not known, 403 `M_FORBIDDEN` for a server that is kept out.
pub fn open<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    admit(&mut room, origin)?;
    Ok(room)
}

/// The same, for a server with users in the room.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` also for a server that is not in the room.
pub fn open_to_members<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let room = open(db, origin, room_id)?;
    if room.has_joined_member_of(origin) { Ok(room) } else { Err(not_in_room()) }
}

fn not_in_room() -> MatrixError {
    MatrixError::forbidden("Your server is not in this room.")
}

/// The same, also for a server that was in the room before the events that it asks about: it may need what they follow to know that it
/// is no longer.
///
/// # Errors
///
/// As for [`open_to_members`].
pub fn open_to_witnesses<'d>(
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

/// The same as [`open`], of a room that this server is in.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` also if no user of this server is in the room: what it was like then is of no use.
pub fn open_inhabited<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    check_inhabited(&room)?;
    admit(&mut room, origin)?;
    Ok(room)
}

/// 404 `M_NOT_FOUND`
pub fn unknown() -> MatrixError {
    MatrixError::not_found("The room is not known.")
}

/// 403 `M_FORBIDDEN` for a server that the room's access control list does not admit.
pub fn admit(room: &mut Room<'_>, server_name: &str) -> Result<()> {
    match room.state("m.room.server_acl", "") {
        Some(acl) if !server_acl::admits(acl.event.content(), server_name) => {
            Err(MatrixError::forbidden("The room's server access control list denies your server."))
        }
        _ => Ok(()),
    }
}

/// 404 `M_NOT_FOUND` if no user of this server is in the room.
pub fn check_inhabited(room: &Room<'_>) -> Result<()> {
    if room.has_joined_member_of(&room.signer.server_name) { Ok(()) } else { Err(unknown()) }
}

/// Whether a user of the named server was in the room before these events, of which at least one is known.
fn had_joined_member_of(room: &mut Room<'_>, server_name: &str, event_ids: &[&str]) -> bool {
    let args = [room.nid.into(), event_ids.to_vec().into()];
    let roots: Vec<Option<i64>> =
        room.db.query(STATES_BEFORE, &args).map(|row| row.opt("state_before")).collect();
    let events = Events::new(room.db);
    let reader = ServerReader::new(room, server_name);
    !roots.is_empty() && roots.iter().all(|root| root.is_some_and(|root| reader.was_joined(&events, root)))
}
