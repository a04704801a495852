//! A room under its lock: its header, and the part of its current state that was loaded.
//!
//! Writers get a room from [`Room::with`] or [`Room::create`]. These lock its row before anything else, and
//! store the header at the end. [`append`](crate::append) adds local events, [`intake`](crate::intake) remote
//! ones.

pub mod annotations;
pub mod authorization;
pub mod current_state;
pub mod event_rows;
pub mod graph_events;
pub mod held_receipts;
mod load;
pub mod out_of_band_memberships;
pub mod partial;
pub mod pending_invites;
pub mod policy;
pub mod predecessor;
pub mod redaction;
mod remembered;
pub mod resolve;
pub mod servers;
mod slots;
pub mod state_at;
pub mod state_keys;
mod stored;

use std::{collections::BTreeMap, rc::Rc};

use matriarch_rules::{RoomVersion, event::format::MAX_PREV_EVENTS, power_levels::PowerLevels, room_version};
use matriarch_wire::Unsigned;
use serde_json::Value;

use self::{event_rows::EventRow, remembered::StateVersion, slots::Slots};
pub use self::{
    remembered::note_newest,
    stored::{Extremity, Slot, StateEvent, StateKey, parse_exactly, parse_stored, reference},
};
use crate::{
    base::{
        response::Response,
        signing::Signer,
        spi::{Db, Row, nids_literal},
    },
    outbox, trie,
};

/// The distance between the `pos` of successive live events. Events that are found later get positions in
/// between.
pub const POS_STEP: i64 = 1 << 20;

/// A locked room.
pub struct Room<'a> {
    pub(crate) db: &'a Db<'a>,
    pub nid: i64,
    pub id: String,
    pub version: &'static RoomVersion,
    pub signer: Rc<Signer>,
    /// Users to wake, because their memberships changed.
    pub wake_users: Vec<i64>,
    pub(crate) header: Header,
    /// Whether the loaded state is that of some forward extremities only, not the current state; see
    /// `append/merge.rs`.
    pub(crate) merging: bool,
    /// Events that the API node has the room's policy server sign after it answered the request.
    pub(crate) unsigned: Vec<Unsigned>,
    /// Events that were appended and are not written to the database yet.
    pub(crate) unwritten: Vec<EventRow>,
    slots: Slots,
    /// The state that the room had when it was locked.
    found: StateVersion,
}

/// The columns of `rooms` that an append changes.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub root: i64,
    /// The forward extremities that are not loaded yet; [`Room::load`] moves them to `extremities`.
    pub extremity_nids: Vec<i64>,
    pub extremities: Vec<Extremity>,
    pub depth: i64,
    pub next_key_idx: i32,
    pub last_pos: i64,
    pub notify_seq: i64,
    pub state_rewrites: i64,
    /// The number of other servers in the room.
    pub other_servers: i32,
    /// Whether the current state lacks members; see [`partial`].
    pub partial: bool,
    /// Whether an event was appended that other servers are to be sent.
    pub outgoing: bool,
    pub joined_change: i32,
    pub invited_change: i32,
    pub changed: bool,
}

const LOCK: &str = "
    select r.room_nid, r.room_version, r.current_root, r.forward_extremities, r.depth, r.next_key_idx,
        r.last_pos, r.notify_seq,
        (
            select k.key_id
            from signing_keys k
            where k.expired_at is null
            order by k.created_at desc, k.key_id
            limit 1
        ) as key_id,
        r.room_id, r.state_rewrites, r.other_servers, r.partial
    from rooms r
    where r.room_id = any($1)
    order by r.room_nid
    for update";

/// [`LOCK`] without the lock.
const READ: &str = "
    select r.room_nid, r.room_version, r.current_root, r.forward_extremities, r.depth, r.next_key_idx,
        r.last_pos, r.notify_seq,
        (
            select k.key_id
            from signing_keys k
            where k.expired_at is null
            order by k.created_at desc, k.key_id
            limit 1
        ) as key_id,
        r.room_id, r.state_rewrites, r.other_servers, r.partial
    from rooms r
    where r.room_id = $1";

const CREATE: &str = "
    insert into rooms (room_id, room_version, published) values ($1, $2, $3) on conflict (room_id) do nothing
    returning room_nid";

/// `i` is the index of the room in the arrays.
const STORE: &str = "
    update rooms
    set (current_root, forward_extremities, depth, next_key_idx, last_pos, notify_seq, state_rewrites,
        joined_members, invited_members, xid) = (
            select ($2)[i], ($3)[i]::bigint[], ($4)[i], ($5)[i], ($6)[i], ($7)[i], ($8)[i],
                joined_members + ($9)[i], invited_members + ($10)[i], pg_current_xact_id()
            from array_position($1, room_nid) as i
        )
    where room_nid = any($1)";

impl Header {
    /// The forward extremities that the next event cites: the newest, up to the limit of `prev_events`.
    pub fn cited(&self) -> &[Extremity] {
        &self.extremities[self.extremities.len().saturating_sub(MAX_PREV_EVENTS)..]
    }

    /// Whether there are more forward extremities than an event can cite. The current state is then what
    /// the previous one and the states after new events resolve to: to resolve all states anew would take
    /// ever longer, and whoever may send to the room can make as many as they like.
    pub fn is_crowded(&self) -> bool {
        self.extremities.len() > MAX_PREV_EVENTS
    }

    /// Replaces the cited forward extremities with the event that cites them.
    pub fn advance(&mut self, event: Extremity) {
        self.extremities.truncate(self.extremities.len().saturating_sub(MAX_PREV_EVENTS));
        self.extremities.push(event);
    }
}

impl<'a> Room<'a> {
    /// Locks a room, runs `work`, and stores the changes. What was appended is stored even if `work` fails
    /// later. `None` if the room does not exist.
    pub fn with<R>(db: &'a Db<'a>, room_id: &str, work: impl FnOnce(&mut Self) -> R) -> Option<R> {
        Self::with_all(db, &[room_id], |rooms| rooms.first_mut().map(work))
    }

    /// Like [`Room::with`] for several rooms, which are locked in the order of their nids. Rooms that do not
    /// exist are left out.
    pub fn with_all<R>(db: &'a Db<'a>, room_ids: &[&str], work: impl FnOnce(&mut [Self]) -> R) -> R {
        let rows = db.query(LOCK, &[room_ids.to_vec().into()]);
        let mut rooms: Vec<Self> = rows.map(|row| Self::of_row(db, &row)).collect();
        let result = work(&mut rooms);
        Self::store_all(db, &rooms);
        result
    }

    /// Reads a room without its lock, for reading only. `None` if the room does not exist.
    pub fn read(db: &'a Db<'a>, room_id: &str) -> Option<Self> {
        Some(Self::of_row(db, &db.query_opt(READ, &[room_id.into()])?))
    }

    fn of_row(db: &'a Db<'a>, row: &Row<'_>) -> Self {
        let version: String = row.get("room_version");
        Self {
            db,
            nid: row.get("room_nid"),
            id: row.get("room_id"),
            version: room_version(&version).unwrap_or_else(|| panic!("unknown room version {version}")),
            signer: Signer::of_key(db, row.opt("key_id")),
            wake_users: Vec::new(),
            header: Header {
                root: row.get("current_root"),
                extremity_nids: row.get("forward_extremities"),
                depth: row.get("depth"),
                next_key_idx: row.get("next_key_idx"),
                last_pos: row.get("last_pos"),
                notify_seq: row.get("notify_seq"),
                state_rewrites: row.get("state_rewrites"),
                other_servers: row.get("other_servers"),
                partial: row.get("partial"),
                ..Header::default()
            },
            merging: false,
            unsigned: Vec::new(),
            unwritten: Vec::new(),
            slots: Slots::default(),
            found: StateVersion { root: row.get("current_root"), rewrites: row.get("state_rewrites") },
        }
    }

    /// Creates a room without events and works on it like [`Room::with`]. `None` if the id is taken.
    pub fn create<R>(
        db: &'a Db<'a>,
        signer: Rc<Signer>,
        room_id: &str,
        version: &'static RoomVersion,
        published: bool,
        work: impl FnOnce(&mut Self) -> R,
    ) -> Option<R> {
        let row = db.query_opt(CREATE, &[room_id.into(), version.id.into(), published.into()])?;
        let mut room = Self {
            db,
            nid: row.get("room_nid"),
            id: room_id.to_owned(),
            version,
            signer,
            wake_users: Vec::new(),
            header: Header::default(),
            merging: false,
            unsigned: Vec::new(),
            unwritten: Vec::new(),
            slots: Slots::default(),
            found: StateVersion::default(),
        };
        let result = work(&mut room);
        Self::store_all(db, std::slice::from_ref(&room));
        Some(result)
    }

    /// The id of the create event, in room versions whose room id is made of it.
    pub(crate) fn create_event_id(&self) -> Option<String> {
        let hash = self.id.strip_prefix('!').filter(|_| self.version.room_id_is_create_event_id)?;
        Some(format!("${hash}"))
    }

    /// Writes the appended events and the changed headers of rooms.
    fn store_all(db: &Db<'_>, rooms: &[Self]) {
        event_rows::insert(db, rooms.iter().flat_map(|room| &room.unwritten));
        rooms.iter().for_each(Room::note_partial);
        let changed: Vec<&Self> = rooms.iter().filter(|room| room.header.changed).collect();
        if changed.is_empty() {
            return;
        }
        macro_rules! column {
            ($room:ident => $value:expr) => {
                changed.iter().map(|$room| $value).collect::<Vec<_>>().into()
            };
        }
        db.execute(
            STORE,
            &[
                column!(room => room.nid),
                column!(room => room.header.root),
                column!(room => nids_literal(room.header.extremities.iter().map(|extremity| extremity.nid))),
                column!(room => room.header.depth),
                column!(room => room.header.next_key_idx),
                column!(room => room.header.last_pos),
                column!(room => room.header.notify_seq),
                column!(room => room.header.state_rewrites),
                column!(room => room.header.joined_change),
                column!(room => room.header.invited_change),
            ],
        );
        let outgoing: Vec<i64> =
            changed.iter().filter(|room| room.header.outgoing).map(|room| room.nid).collect();
        if !outgoing.is_empty() {
            outbox::mark(db, outgoing);
        }
    }

    /// Writes the appended events now, so that later queries see them.
    pub(crate) fn write_events(&mut self) {
        event_rows::insert(self.db, &self.unwritten);
        self.note_partial();
        self.unwritten.clear();
    }

    /// If the room is partial, notes that the states before the events just written lack members.
    pub(crate) fn note_partial(&self) {
        if self.header.partial {
            let nids = self.unwritten.iter().map(|row| row.event_nid).collect();
            event_rows::note_partial(self.db, self.nid, nids, Vec::new());
        }
    }

    /// The response to a request that changed the room.
    pub fn answer(&mut self, body: Value) -> Response {
        let mut response = Response::json(&body).wake_room(self.nid);
        response.wake_users = std::mem::take(&mut self.wake_users);
        response.unsigned = std::mem::take(&mut self.unsigned);
        response
    }

    /// The slot of a state key in the current state; it is loaded if necessary.
    pub fn slot(&mut self, event_type: &str, state_key: &str) -> Slot {
        self.load([(event_type, state_key)]);
        self.loaded(event_type, state_key).cloned().unwrap_or_default()
    }

    /// Replaces the loaded part of the current state with slots of another state.
    pub(crate) fn pretend_state(&mut self, slots: impl IntoIterator<Item = (StateKey, Slot)>) {
        self.slots = slots.into_iter().collect();
    }

    /// The current event of a state key; it is loaded if necessary.
    pub fn state(&mut self, event_type: &str, state_key: &str) -> Option<StateEvent> {
        self.slot(event_type, state_key).current
    }

    /// A user's membership, and the member event.
    pub fn membership(&mut self, user_id: &str) -> Option<(String, StateEvent)> {
        let current = self.state("m.room.member", user_id)?;
        let membership = current.event.content().get("membership")?.as_str()?.to_owned();
        Some((membership, current))
    }

    /// Whether the user is joined in the current state.
    pub fn is_joined(&mut self, user_id: &str) -> bool {
        self.membership(user_id).is_some_and(|(membership, _)| membership == "join")
    }

    /// Calls `ask` with the power levels of the current state. `None` if the room has no create event.
    pub fn power_levels<R>(&mut self, ask: impl FnOnce(&PowerLevels<'_>) -> R) -> Option<R> {
        self.load([("m.room.create", ""), ("m.room.power_levels", "")]);
        let create = self.loaded("m.room.create", "")?.current.as_ref()?;
        let current = self.loaded("m.room.power_levels", "").and_then(|slot| slot.current.as_ref());
        let levels = PowerLevels::new(self.version, &create.event, current.map(|current| &*current.event));
        Some(ask(&levels))
    }

    /// The slot of a state key, if [`Room::load`] has loaded it.
    pub(crate) fn loaded(&self, event_type: &str, state_key: &str) -> Option<&Slot> {
        self.slots.get(event_type, state_key)
    }

    /// The current state event of a state key, if it was loaded.
    pub(crate) fn loaded_event(&self, event_type: &str, state_key: &str) -> Option<&StateEvent> {
        self.loaded(event_type, state_key)?.current.as_ref()
    }

    /// Sets the current event of a state key, whose number in the room is `key_idx`.
    pub(crate) fn set_state(&mut self, key: StateKey, key_idx: i32, new: StateEvent) {
        let changes = BTreeMap::from([(key_idx, Some(new.nid))]);
        self.header.root = trie::set_many(self.db, self.nid, self.header.root, &changes);
        self.slots.insert(key, Slot { key_idx: Some(key_idx), current: Some(new) });
    }

    /// Drops the loaded state because the current state has changed.
    pub(crate) fn forget_state(&mut self) {
        self.slots = Slots::default();
    }

    /// Drops the loaded slot of an event that was redacted, and has other backends drop theirs.
    pub(crate) fn rewritten(&mut self, event_nid: i64) {
        self.header.state_rewrites += 1;
        self.slots.retain(|slot| slot.current.as_ref().is_none_or(|current| current.nid != event_nid));
    }
}

const VERSION: &str = "select room_version from rooms where room_id = $1";

/// The version of a room, which may be one that is not supported. `None` for a room that is not known.
pub fn version_of_room(db: &Db<'_>, room_id: &str) -> Option<String> {
    db.query_opt(VERSION, &[room_id.into()]).map(|row| row.get("room_version"))
}
