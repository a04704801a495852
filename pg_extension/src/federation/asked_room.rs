//! A room that another server asks about.

use matriarch_rules::server_acl;

use crate::{
    response::{MatrixError, Result},
    room::Room,
    spi::Db,
};

const HAS_JOINED_MEMBER: &str = "
    select
    from room_keys k
    cross join lateral (select user_nid from users where user_id = k.state_key offset 0) u
    cross join lateral (
        select membership from memberships where room_nid = k.room_nid and user_nid = u.user_nid offset 0
    ) m
    where k.room_nid = $1 and k.type = 'm.room.member'
        and substr(k.state_key, strpos(k.state_key, ':') + 1) = $2 and m.membership = 'join'
    limit 1";

/// While members are missing, the server that told of the room names those that are in it.
const IS_PRESUMED: &str = "
    select from partial_joins where room_nid = $1 and $2 = any(servers)";

/// Finds a room, to look at it without its lock, for a server that its access control list admits.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` if the room is not known, 403 `M_FORBIDDEN` for a server that is kept out.
pub fn open<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    room.admit(origin)?;
    Ok(room)
}

/// The same, for a server with users in the room.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` also for a server that is not in the room.
pub fn open_to_members<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let room = open(db, origin, room_id)?;
    if room.has_joined_member_of(origin) {
        Ok(room)
    } else {
        Err(MatrixError::forbidden("Your server is not in this room."))
    }
}

/// The same as [`open`], of a room that this server is in.
///
/// # Errors
///
/// 404 `M_NOT_FOUND` also if no user of this server is in the room: what it was like then is of no use.
pub fn open_inhabited<'d>(db: &'d Db<'d>, origin: &str, room_id: &str) -> Result<Room<'d>> {
    let mut room = Room::read(db, room_id).ok_or_else(unknown)?;
    room.check_inhabited()?;
    room.admit(origin)?;
    Ok(room)
}

/// 404 `M_NOT_FOUND`
pub fn unknown() -> MatrixError {
    MatrixError::not_found("The room is not known.")
}

impl Room<'_> {
    /// 403 `M_FORBIDDEN` for a server that the room's access control list does not admit.
    pub fn admit(&mut self, server_name: &str) -> Result<()> {
        match self.state("m.room.server_acl", "") {
            Some(acl) if !server_acl::admits(acl.event.content(), server_name) => {
                Err(MatrixError::forbidden("The room's server access control list denies your server."))
            }
            _ => Ok(()),
        }
    }

    /// 404 `M_NOT_FOUND` if no user of this server is in the room.
    pub fn check_inhabited(&self) -> Result<()> {
        if self.has_joined_member_of(&self.signer.server_name) { Ok(()) } else { Err(unknown()) }
    }

    /// Whether a user of the named server is in the room now.
    pub fn has_joined_member_of(&self, server_name: &str) -> bool {
        let is_found =
            |sql: &'static str| self.db.query_opt(sql, &[self.nid.into(), server_name.into()]).is_some();
        is_found(HAS_JOINED_MEMBER) || (self.header.partial && is_found(IS_PRESUMED))
    }
}
