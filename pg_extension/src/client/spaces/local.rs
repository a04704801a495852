//! Summaries of rooms that this server has joined.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use matriarch_rules::room_version;

use super::{Child, Summary};
use crate::{
    base::{signing::Signer, spi::Db},
    client::room_directory::Description,
    room::{parse_stored, servers::has_member},
};

/// Rooms that a local user is joined to; and for all rooms the membership of one user.
const ROOMS: &str = concat!(
    "
    select wanted.room_id, r.room_nid, r.room_version, r.joined_members,
        coalesce(m.membership, o.membership) as membership
    from unnest($1) as wanted (room_id)
    left join lateral (
        select room_nid, room_version, joined_members from rooms where room_id = wanted.room_id offset 0
    ) r on ",
    has_member!("r.room_nid", "$2", "'join'"),
    "
    left join lateral (
        select membership
        from memberships
        where room_nid = r.room_nid and user_nid = $3 and not forgotten
        offset 0
    ) m on true
    left join lateral (
        select membership
        from out_of_band_memberships
        where room_id = wanted.room_id and user_nid = $3
        offset 0
    ) o on true"
);

const CHILDREN: &str = "
    select wanted.room_nid, e.json
    from unnest($1) as wanted (room_nid)
    cross join lateral (
        select current_event_nid
        from room_state_keys
        where room_nid = wanted.room_nid and type = 'm.space.child' and current_event_nid is not null
        offset 0
    ) k
    join events e on e.event_nid = k.current_event_nid";

const IS_IN: &str = "
    select wanted.room_id
    from unnest($2) as wanted (room_id)
    cross join lateral (select room_nid from rooms where room_id = wanted.room_id offset 0) r
    cross join lateral (
        select from memberships where room_nid = r.room_nid and user_nid = $1 and membership = 'join' offset 0
    ) m";

/// What this server knows of a room, for one user.
#[derive(Debug, Default, Clone)]
pub struct LocalRoom {
    pub room_nid: Option<i64>,
    /// `None` unless a local user is joined to the room.
    pub summary: Option<Rc<Summary>>,
    /// The user's membership.
    pub membership: Option<String>,
}

/// The rooms of a walk, read when they are needed.
pub struct LocalRooms<'d> {
    db: &'d Db<'d>,
    server_name: String,
    user_nid: i64,
    rooms: HashMap<String, LocalRoom>,
    asked: HashSet<String>,
    joined: HashSet<String>,
}

impl<'d> LocalRooms<'d> {
    /// For a user; `None` for a reader without memberships.
    pub fn of(db: &'d Db<'d>, user_nid: Option<i64>) -> Self {
        Self {
            db,
            server_name: Signer::current(db).server_name.clone(),
            // No user has the number 0.
            user_nid: user_nid.unwrap_or(0),
            rooms: HashMap::new(),
            asked: HashSet::new(),
            joined: HashSet::new(),
        }
    }

    /// Reads those of the rooms that were not read yet, in one query.
    pub fn load<'i>(&mut self, room_ids: impl IntoIterator<Item = &'i str>) {
        let wanted: HashSet<&str> =
            room_ids.into_iter().filter(|room_id| !self.rooms.contains_key(*room_id)).collect();
        if wanted.is_empty() {
            return;
        }
        let wanted: Vec<&str> = wanted.into_iter().collect();
        let args = [wanted.into(), self.server_name.as_str().into(), self.user_nid.into()];
        let rows: Vec<_> = self.db.query(ROOMS, &args).collect();
        let room_nids: Vec<i64> = rows.iter().filter_map(|row| row.opt("room_nid")).collect();
        let descriptions = Description::of(self.db, &room_nids);
        let mut summaries: HashMap<i64, Summary> = HashMap::new();
        for row in &rows {
            let (room_id, room_nid): (String, Option<i64>) = (row.get("room_id"), row.opt("room_nid"));
            self.rooms.insert(
                room_id.clone(),
                LocalRoom { room_nid, summary: None, membership: row.opt("membership") },
            );
            let described = room_nid.and_then(|room_nid| Some((room_nid, descriptions.get(&room_nid)?)));
            if let Some((room_nid, description)) = described
                && let Some(version) = room_version(&row.get::<String>("room_version"))
            {
                summaries
                    .insert(room_nid, Summary::of(&room_id, version, row.get("joined_members"), description));
            }
        }
        self.add_children(&mut summaries);
        for summary in summaries.into_values() {
            if let Some(room) = self.rooms.get_mut(&summary.room_id) {
                room.summary = Some(Rc::new(summary));
            }
        }
    }

    fn add_children(&self, summaries: &mut HashMap<i64, Summary>) {
        let spaces: Vec<i64> =
            summaries.iter().filter(|(_, summary)| summary.is_space).map(|(room_nid, _)| *room_nid).collect();
        if spaces.is_empty() {
            return;
        }
        for row in self.db.query(CHILDREN, &[spaces.into()]) {
            if let Some(summary) = summaries.get_mut(&row.get("room_nid")) {
                summary.children.extend(Child::read(parse_stored(&row.get::<String>("json"))));
            }
        }
        summaries.values_mut().for_each(|summary| Child::sort(&mut summary.children));
    }

    /// What this server knows of a room.
    pub fn get(&mut self, room_id: &str) -> LocalRoom {
        self.load([room_id]);
        self.rooms.get(room_id).cloned().unwrap_or_default()
    }

    /// Whether the user may see a room. `summary` is from this server or another one.
    pub fn may_be_shown(&mut self, summary: &Summary, membership: Option<&str>) -> bool {
        let unasked: Vec<&str> =
            summary.allowed.iter().map(String::as_str).filter(|id| !self.asked.contains(*id)).collect();
        if !unasked.is_empty() {
            self.asked.extend(unasked.iter().map(|id| (*id).to_owned()));
            let args = [self.user_nid.into(), unasked.into()];
            self.joined.extend(self.db.query(IS_IN, &args).map(|row| row.get::<String>("room_id")));
        }
        summary.may_be_shown(membership, &self.joined)
    }
}
