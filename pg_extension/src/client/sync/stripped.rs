//! Stripped state for invited and knocking users. Client-Server API, "Stripped state".

use std::{
    collections::{BTreeSet, HashMap},
    rc::Rc,
};

use super::parts::{Part, Parts};
use crate::{
    base::spi::Db,
    read::{
        render::stripped,
        stored_event::{Events, StoredEvent},
    },
    room::out_of_band_memberships::MAX_STATE_BYTES,
};

/// The types of stripped state; [`KEYS`] has the same list.
pub const SHOWN_TO_OUTSIDERS: [&str; 7] = [
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
];

const KEYS: &str = "
    select w.room_nid, k.current_event_nid, octet_length(e.json) as bytes
    from unnest($1::bigint[]) w (room_nid)
    cross join unnest('{
        m.room.create, m.room.name, m.room.avatar, m.room.topic, m.room.join_rules, m.room.canonical_alias,
        m.room.encryption
    }'::text[]) t (type)
    cross join lateral (
        select current_event_nid
        from room_state_keys
        where room_nid = w.room_nid and type = t.type and state_key = '' and current_event_nid is not null
        offset 0
    ) k
    join events e on e.event_nid = k.current_event_nid";

/// The most bytes of state of all rooms together in a call. Of rooms beyond, only the invite is shown.
const MAX_BYTES: usize = 16 << 20;

const INVITERS: &str = "
    select w.room_nid, w.user_id, k.current_event_nid
    from unnest($1::bigint[], $2::text[]) w (room_nid, user_id)
    cross join lateral (
        select current_event_nid
        from room_state_keys
        where room_nid = w.room_nid and type = 'm.room.member' and state_key = w.user_id
            and current_event_nid is not null
        offset 0
    ) k";

/// Stripped state of the rooms that askers are invited to or knock on.
#[derive(Default)]
pub struct Stripped {
    /// The state of each room, by `room_nid`.
    rooms: HashMap<i64, Vec<Rc<StoredEvent>>>,
    /// The member events of users who sent invites, by `room_nid` and user. Clients show their names.
    inviters: HashMap<(i64, String), Rc<StoredEvent>>,
}

impl Stripped {
    pub fn read(db: &Db<'_>, events: &Events<'_, '_>, parts: &Parts) -> Self {
        let outside = || parts.values().filter(|part| is_outside(part));
        let rooms: BTreeSet<i64> = outside().map(|part| part.room.room_nid).collect();
        if rooms.is_empty() {
            return Self::default();
        }
        let (mut total, mut by_room) = (0, HashMap::new());
        let keys: Vec<(i64, i64)> = db
            .query(KEYS, &[rooms.into_iter().collect::<Vec<_>>().into()])
            .filter_map(|row| {
                let (room_nid, bytes) = (row.get("room_nid"), row.get::<i32>("bytes") as usize);
                let of_room: &mut usize = by_room.entry(room_nid).or_default();
                let fits = *of_room + bytes <= MAX_STATE_BYTES && total + bytes <= MAX_BYTES;
                *of_room += bytes;
                total += if fits { bytes } else { 0 };
                fits.then(|| (room_nid, row.get("current_event_nid")))
            })
            .collect();
        let inviters = inviters(db, parts);
        let state = keys.iter().map(|(_, nid)| *nid).chain(inviters.values().copied());
        events.load(state.chain(outside().map(|part| part.member_event_nid)));
        let mut rooms: HashMap<i64, Vec<Rc<StoredEvent>>> = HashMap::new();
        for (room_nid, nid) in keys {
            rooms.entry(room_nid).or_default().push(events.get(nid));
        }
        let inviters = inviters.into_iter().map(|(key, nid)| (key, events.get(nid))).collect();
        Self { rooms, inviters }
    }

    /// The stripped state for one user: that of the room, the inviter's member event, and the user's own.
    pub fn state(&self, events: &Events<'_, '_>, part: &Part) -> Vec<String> {
        let room = self.rooms.get(&part.room.room_nid).into_iter().flatten();
        let inviter = self.inviters.get(&(part.room.room_nid, part.member_sender.clone()));
        let inviter = inviter.filter(|member| is_invite(part) && member.event_nid != part.member_event_nid);
        let own = events.get(part.member_event_nid);
        room.chain(inviter).chain([&own]).map(|event| stripped(event)).collect()
    }
}

/// The nids of the member events of users who sent invites, by `room_nid` and user.
fn inviters(db: &Db<'_>, parts: &Parts) -> HashMap<(i64, String), i64> {
    let invites: BTreeSet<(i64, &str)> = parts
        .values()
        .filter(|part| is_invite(part))
        .map(|part| (part.room.room_nid, part.member_sender.as_str()))
        .collect();
    if invites.is_empty() {
        return HashMap::new();
    }
    let (rooms, users): (Vec<i64>, Vec<&str>) = invites.into_iter().unzip();
    db.query(INVITERS, &[rooms.into(), users.into()])
        .map(|row| ((row.get("room_nid"), row.get("user_id")), row.get("current_event_nid")))
        .collect()
}

fn is_invite(part: &Part) -> bool {
    part.membership == "invite"
}

fn is_outside(part: &Part) -> bool {
    matches!(&*part.membership, "invite" | "knock")
}
