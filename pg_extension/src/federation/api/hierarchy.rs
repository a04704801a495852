//! `GET /hierarchy` of the Server-Server API: a space and its children, one level deep. Server-Server API,
//! "Spaces".

use std::{collections::HashSet, rc::Rc};

use pgrx::pg_extern;
use serde_json::{Value, json};

use super::asked_room;
use crate::{
    base::{
        response::{Response, ResponseRows, respond},
        spi::{Db, Mode},
    },
    client::spaces::{LocalRoom, LocalRooms, Summary},
    room::servers::{closed_to, has_member},
};

/// The number of children in a response.
const MAX_CHILDREN: usize = 1000;

/// The rooms in which the origin has joined or invited users.
const MEMBERS: &str = concat!(
    "
    select wanted.room_nid
    from unnest($1) as wanted (room_nid)
    where ",
    has_member!("wanted.room_nid", "$2", "'join', 'invite'")
);

/// The ids of the rooms in which the origin has joined users.
const JOINED: &str = "
    select wanted.room_id
    from unnest($1) as wanted (room_id)
    cross join lateral (select room_nid from rooms where room_id = wanted.room_id offset 0) r
    where exists (
        select
        from destination_rooms d
        join destinations s using (destination_nid)
        where d.room_nid = r.room_nid and s.server_name = $2 and d.left_nid is null
    )";

/// `GET /_matrix/federation/v1/hierarchy/{roomId}`
#[pg_extern(stable)]
fn federation_hierarchy(origin: &str, room_id: &str, suggested_only: bool) -> ResponseRows {
    respond(Mode::Read, |db| {
        let mut rooms = LocalRooms::of(db, None);
        let root = rooms.get(room_id);
        let space = root.summary.clone().ok_or_else(asked_room::unknown)?;
        if !Origin::of(db, origin, std::slice::from_ref(&root)).may_be_shown(&root, &space) {
            return Err(asked_room::unknown());
        }
        let ids: Vec<&str> =
            space.children(suggested_only).map(|child| child.room_id.as_str()).take(MAX_CHILDREN).collect();
        rooms.load(ids.iter().copied());
        let known: Vec<LocalRoom> = ids.into_iter().map(|room_id| rooms.get(room_id)).collect();
        let asking = Origin::of(db, origin, &known);
        let (mut children, mut inaccessible): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
        for room in &known {
            let Some(summary) = &room.summary else { continue };
            if asking.may_be_shown(room, summary) {
                children.push(summary.with_children(suggested_only))
            } else {
                inaccessible.push(summary.room_id.as_str().into())
            }
        }
        Ok(Response::json(&json!({
            "room": space.with_children(suggested_only),
            "children": children,
            "inaccessible_children": inaccessible,
        })))
    })
}

/// The origin's relation to the rooms of the response.
struct Origin {
    /// Rooms that the origin can never join.
    closed: HashSet<i64>,
    /// Rooms in which the origin has joined or invited users.
    present: HashSet<i64>,
    /// Rooms in which the origin has joined users, of those that join rules name in `allow`.
    joined: HashSet<String>,
}

impl Origin {
    /// Reads the relation to these rooms.
    fn of(db: &Db<'_>, origin: &str, rooms: &[LocalRoom]) -> Self {
        let nids: Vec<i64> = rooms.iter().filter_map(|room| room.room_nid).collect();
        let summaries = || rooms.iter().filter_map(|room| room.summary.as_ref());
        let allowed: HashSet<&str> =
            summaries().flat_map(|summary: &Rc<Summary>| &summary.allowed).map(String::as_str).collect();
        let allowed: Vec<&str> = allowed.into_iter().collect();
        Self {
            closed: closed_to(db, origin, &nids),
            present: db
                .query(MEMBERS, &[nids.into(), origin.into()])
                .map(|row| row.get("room_nid"))
                .collect(),
            joined: db
                .query(JOINED, &[allowed.into(), origin.into()])
                .map(|row| row.get("room_id"))
                .collect(),
        }
    }

    /// Whether some user of the origin may see or join the room.
    fn may_be_shown(&self, room: &LocalRoom, summary: &Summary) -> bool {
        let is_one_of = |nids: &HashSet<i64>| room.room_nid.is_some_and(|nid| nids.contains(&nid));
        let membership = is_one_of(&self.present).then_some("join");
        !is_one_of(&self.closed) && summary.may_be_shown(membership, &self.joined)
    }
}
