//! The rooms that a federation transaction names.

use std::collections::{BTreeSet, HashMap};

use matriarch_rules::{RoomVersion, room_version, server_acl};
use serde_json::Value;

use crate::{
    base::{signing::Signer, spi::Db},
    room::{parse_stored, servers::has_member},
};

/// A room that exists here.
#[derive(Debug)]
pub struct InboundRoom {
    pub nid: i64,
    /// `None` if the version is not supported.
    pub version: Option<&'static RoomVersion>,
    /// Whether a local user is joined.
    is_here: bool,
    /// Whether the room's access control list admits the origin.
    admits_origin: bool,
}

impl InboundRoom {
    /// Whether a local user is joined.
    pub fn is_here(&self) -> bool {
        self.is_here
    }

    /// Why nothing for this room is accepted from the origin.
    pub fn refusal(&self) -> Option<&'static str> {
        if !self.is_here {
            Some("This server is not in the room.")
        } else if !self.admits_origin {
            Some("The room's server access control list denies your server.")
        } else {
            None
        }
    }
}

/// Rooms by their ids.
#[derive(Debug)]
pub struct InboundRooms(HashMap<String, InboundRoom>);

const ROOMS: &str = concat!(
    "
    select r.room_id, r.room_nid, r.room_version,
        ",
    has_member!("r.room_nid", "$2", "'join'"),
    " as is_here,
        acl.json
    from unnest($1::text[]) as wanted (room_id)
    cross join lateral (
        select room_id, room_nid, room_version from rooms where room_id = wanted.room_id offset 0
    ) r
    left join lateral (
        select e.json
        from room_state_keys k
        join events e on e.event_nid = k.current_event_nid
        where k.room_nid = r.room_nid and k.type = 'm.room.server_acl' and k.state_key = ''
        offset 0
    ) acl on true"
);

const JOIN_IN_PROGRESS: &str = "
    select exists (
        select from joins_in_progress where room_id = any($1::text[]) and until > now()
    ) as is_any";

impl InboundRooms {
    /// Reads the rooms that exist here, in one query.
    pub fn of(db: &Db<'_>, origin: &str, room_ids: BTreeSet<&str>) -> Self {
        let room_ids: Vec<&str> = room_ids.into_iter().filter(|room_id| !room_id.contains('\0')).collect();
        if room_ids.is_empty() {
            return Self(HashMap::new());
        }
        let own_server = Signer::current(db).server_name.clone();
        let rooms = db.query(ROOMS, &[room_ids.into(), own_server.into()]).map(|row| {
            let admits_origin = row.opt::<String>("json").is_none_or(|acl| {
                parse_stored(&acl)
                    .get("content")
                    .and_then(Value::as_object)
                    .is_none_or(|content| server_acl::admits(content, origin))
            });
            let room = InboundRoom {
                nid: row.get("room_nid"),
                version: room_version(&row.get::<String>("room_version")),
                is_here: row.get("is_here"),
                admits_origin,
            };
            (row.get("room_id"), room)
        });
        Self(rooms.collect())
    }

    pub fn get(&self, room_id: &str) -> Option<&InboundRoom> {
        self.0.get(room_id)
    }

    /// Whether a join of a local user is in progress for one of these rooms, of those that this server is not
    /// in.
    pub fn is_any_join_in_progress(&self, db: &Db<'_>, room_ids: &BTreeSet<&str>) -> bool {
        let is_here = |room_id: &&str| self.get(room_id).is_some_and(InboundRoom::is_here);
        let absent: Vec<&str> =
            room_ids.iter().copied().filter(|id| !is_here(id) && !id.contains('\0')).collect();
        !absent.is_empty() && db.query_one(JOIN_IN_PROGRESS, &[absent.into()]).get("is_any")
    }

    /// The `room_nid` of a room for which EDUs of the origin are accepted.
    pub fn open(&self, room_id: &str) -> Option<i64> {
        self.get(room_id).filter(|room| room.refusal().is_none()).map(|room| room.nid)
    }
}
