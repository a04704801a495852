//! A room under its lock: its header, and the part of its current state that was asked for.
//!
//! Whoever writes to a room gets it from [`Room::with`] (or [`Room::create`]), which takes the row lock before anything
//! else and stores the header afterwards. [`append`](crate::append) adds events to it.

use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use matriarch_rules::{
    Event, Map, RoomVersion, base64, build::EventReference, event::format::MAX_PREV_EVENTS,
    hash::reference_hash, power_levels::PowerLevels, room_version,
};

use crate::{
    signing::Signer,
    spi::{Db, Row},
    state,
};

/// How far apart the `pos` of successive events are: room for what is found between them later.
pub const POS_STEP: i64 = 1 << 20;

/// A type and a state key.
pub type StateKey = (String, String);

/// An event of the current state.
#[derive(Debug, Clone)]
pub struct StateEvent {
    pub nid: i64,
    pub event: Rc<Event>,
}

/// What is known of one key of the current state.
#[derive(Debug, Clone, Default)]
pub struct Slot {
    /// The key's place in the trie, if it was ever used.
    pub key_idx: Option<i32>,
    pub current: Option<StateEvent>,
}

/// An event that the next one cites.
#[derive(Debug, Clone)]
pub struct Extremity {
    pub nid: i64,
    pub reference: EventReference,
}

/// A locked room.
pub struct Room<'a> {
    pub(crate) db: &'a Db<'a>,
    pub nid: i64,
    pub id: String,
    pub version: &'static RoomVersion,
    pub signer: Rc<Signer>,
    /// Users whose membership changed.
    pub wake_users: Vec<i64>,
    pub(crate) header: Header,
    /// Whether the state that was read is that of some branches, not the current one.
    pub(crate) merging: bool,
    slots: HashMap<StateKey, Slot>,
}

/// The columns of `rooms` that an append changes.
#[derive(Debug, Default)]
pub(crate) struct Header {
    pub root: i64,
    /// Not yet loaded ones; [`Room::load`] turns them into `extremities`.
    pub extremity_nids: Vec<i64>,
    pub extremities: Vec<Extremity>,
    pub depth: i64,
    pub next_key_idx: i32,
    pub last_pos: i64,
    pub notify_seq: i64,
    pub joined_change: i32,
    pub invited_change: i32,
    pub changed: bool,
}

const LOCK: &str = "
    select r.room_nid, r.room_version, r.current_root, r.forward_extremities, r.depth, r.next_key_idx, r.last_pos,
        r.notify_seq,
        (select k.key_id from signing_keys k where k.expired_at is null order by k.created_at desc, k.key_id limit 1)
    from rooms r
    where r.room_id = $1
    for update";

/// [`LOCK`] without the lock.
const READ: &str = "
    select r.room_nid, r.room_version, r.current_root, r.forward_extremities, r.depth, r.next_key_idx, r.last_pos,
        r.notify_seq,
        (select k.key_id from signing_keys k where k.expired_at is null order by k.created_at desc, k.key_id limit 1)
    from rooms r
    where r.room_id = $1";

const CREATE: &str = "
    insert into rooms (room_id, room_version, published) values ($1, $2, $3) on conflict (room_id) do nothing
    returning room_nid";

/// `offset 0` holds the planner to one look-up a key: a plan made while rooms are small would otherwise read all keys of
/// the room, and be kept when it has grown.
const LOAD: &str = "
    select wanted.type, wanted.state_key, k.key_idx, e.event_nid, e.event_id, e.json
    from unnest($2, $3) as wanted (type, state_key)
    cross join lateral (
        select room_keys.key_idx, room_keys.current_event_nid
        from room_keys
        where room_nid = $1 and room_keys.type = wanted.type and room_keys.state_key = wanted.state_key
        offset 0
    ) k
    left join events e on e.event_nid = k.current_event_nid
    union all
    select null, null, null, e.event_nid, e.event_id, case when $5 then e.json end
    from events e
    where e.event_nid = any($4)";

const STORE: &str = "
    update rooms
    set current_root = $2, forward_extremities = $3, depth = $4, next_key_idx = $5, last_pos = $6, notify_seq = $7,
        joined_members = joined_members + $8, invited_members = invited_members + $9, xid = pg_current_xact_id()
    where room_nid = $1";

impl Header {
    /// The extremities that the next event cites: the newest, as many as an event may.
    pub fn cited(&self) -> &[Extremity] {
        &self.extremities[self.extremities.len().saturating_sub(MAX_PREV_EVENTS)..]
    }

    /// Puts an event in the place of those that it cites.
    pub fn advance(&mut self, event: Extremity) {
        self.extremities.truncate(self.extremities.len().saturating_sub(MAX_PREV_EVENTS));
        self.extremities.push(event);
    }
}

impl<'a> Room<'a> {
    /// Locks a room, works on it, and stores what it became: all that was appended, also when `work` fails after it.
    /// `None` if the room is not known.
    pub fn with<R>(db: &'a Db<'a>, room_id: &str, work: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let mut room = Self::of_row(db, room_id, &db.query_opt(LOCK, &[room_id.into()])?);
        let result = work(&mut room);
        room.store();
        Some(result)
    }

    /// A room to look at, without its lock. `None` if it is not known.
    pub fn read(db: &'a Db<'a>, room_id: &str) -> Option<Self> {
        Some(Self::of_row(db, room_id, &db.query_opt(READ, &[room_id.into()])?))
    }

    fn of_row(db: &'a Db<'a>, room_id: &str, row: &Row<'_>) -> Self {
        let version: String = row.get(2);
        Self {
            db,
            nid: row.get(1),
            id: room_id.to_owned(),
            version: room_version(&version).unwrap_or_else(|| panic!("unknown room version {version}")),
            signer: Signer::of_key(db, row.opt(9)),
            wake_users: Vec::new(),
            header: Header {
                root: row.get(3),
                extremity_nids: row.get(4),
                depth: row.get(5),
                next_key_idx: row.get(6),
                last_pos: row.get(7),
                notify_seq: row.get(8),
                ..Header::default()
            },
            merging: false,
            slots: HashMap::new(),
        }
    }

    /// Makes a room without events and works on it like [`Room::with`]. `None` if its id is taken.
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
            nid: row.get(1),
            id: room_id.to_owned(),
            version,
            signer,
            wake_users: Vec::new(),
            header: Header::default(),
            merging: false,
            slots: HashMap::new(),
        };
        let result = work(&mut room);
        room.store();
        Some(result)
    }

    /// The event that the room's id stands for, in room versions where it does.
    pub(crate) fn create_event_id(&self) -> Option<String> {
        let hash = self.id.strip_prefix('!').filter(|_| self.version.room_id_is_create_event_id)?;
        Some(format!("${hash}"))
    }

    fn store(&self) {
        let header = &self.header;
        if !header.changed {
            return;
        }
        let extremities: Vec<i64> = header.extremities.iter().map(|extremity| extremity.nid).collect();
        self.db.execute(
            STORE,
            &[
                self.nid.into(),
                header.root.into(),
                extremities.into(),
                header.depth.into(),
                header.next_key_idx.into(),
                header.last_pos.into(),
                header.notify_seq.into(),
                header.joined_change.into(),
                header.invited_change.into(),
            ],
        );
    }

    /// Reads what is not yet known of these keys, and of the forward extremities, in one query.
    pub fn load<'k>(&mut self, keys: impl IntoIterator<Item = (&'k str, &'k str)>) {
        let mut missing: Vec<StateKey> = Vec::new();
        for (event_type, state_key) in keys {
            let key = (event_type.to_owned(), state_key.to_owned());
            // `text` cannot hold U+0000, so that no state has such a key.
            let storable = !event_type.contains('\0') && !state_key.contains('\0');
            if storable && !self.slots.contains_key(&key) && !missing.contains(&key) {
                missing.push(key);
            }
        }
        let extremity_nids = std::mem::take(&mut self.header.extremity_nids);
        if missing.is_empty() && extremity_nids.is_empty() {
            return;
        }
        let (types, state_keys): (Vec<&str>, Vec<&str>) =
            missing.iter().map(|(event_type, state_key)| (event_type.as_str(), state_key.as_str())).unzip();
        let rows = self.db.query(
            LOAD,
            &[
                self.nid.into(),
                types.into(),
                state_keys.into(),
                extremity_nids.into(),
                self.version.event_id_in_event().into(),
            ],
        );
        for row in rows {
            let nid: Option<i64> = row.opt(4);
            let event = |json: &str| Event::new(row.get::<String>(5), parse_stored(json));
            match row.opt::<String>(1) {
                Some(event_type) => {
                    let current =
                        nid.map(|nid| StateEvent { nid, event: Rc::new(event(&row.get::<String>(6))) });
                    let key = (event_type, row.get::<String>(2));
                    self.slots.insert(key, Slot { key_idx: row.opt(3), current });
                }
                None => {
                    let reference = match row.opt::<String>(6) {
                        Some(json) => reference(self.version, &event(&json)),
                        None => EventReference::from(row.get::<String>(5)),
                    };
                    self.header.extremities.push(Extremity { nid: row.get(4), reference });
                }
            }
        }
        self.header.extremities.sort_unstable_by_key(|extremity| extremity.nid);
        for key in missing {
            self.slots.entry(key).or_default();
        }
    }

    /// A key of the current state, read if need be.
    pub fn slot(&mut self, event_type: &str, state_key: &str) -> Slot {
        self.load([(event_type, state_key)]);
        self.loaded(event_type, state_key).cloned().unwrap_or_default()
    }

    /// Puts another state in the place of what was read of the current one, as far as these keys go.
    pub(crate) fn pretend_state(&mut self, slots: impl IntoIterator<Item = (StateKey, Slot)>) {
        self.slots = slots.into_iter().collect();
    }

    /// An event of the current state, read if need be.
    pub fn state(&mut self, event_type: &str, state_key: &str) -> Option<StateEvent> {
        self.slot(event_type, state_key).current
    }

    /// A user's membership and the event that says so.
    pub fn membership(&mut self, user_id: &str) -> Option<(String, StateEvent)> {
        let current = self.state("m.room.member", user_id)?;
        let membership = current.event.content().get("membership")?.as_str()?.to_owned();
        Some((membership, current))
    }

    pub fn is_joined(&mut self, user_id: &str) -> bool {
        self.membership(user_id).is_some_and(|(membership, _)| membership == "join")
    }

    /// Who may do what by the current state; `None` in a room without create event.
    pub fn power_levels<R>(&mut self, ask: impl FnOnce(&PowerLevels<'_>) -> R) -> Option<R> {
        self.load([("m.room.create", ""), ("m.room.power_levels", "")]);
        let create = self.loaded("m.room.create", "")?.current.as_ref()?;
        let current = self.loaded("m.room.power_levels", "").and_then(|slot| slot.current.as_ref());
        let levels = PowerLevels::new(self.version, &create.event, current.map(|current| &*current.event));
        Some(ask(&levels))
    }

    /// What [`Room::load`] found at a key.
    pub(crate) fn loaded(&self, event_type: &str, state_key: &str) -> Option<&Slot> {
        // Keys are few: a scan costs less than two owned strings for a look-up.
        self.slots.iter().find(|((t, k), _)| t == event_type && k == state_key).map(|(_, slot)| slot)
    }

    /// Every state event that was loaded.
    pub(crate) fn loaded_events(&self) -> impl Iterator<Item = &StateEvent> {
        self.slots.values().filter_map(|slot| slot.current.as_ref())
    }

    /// Makes an event the current one of its key; `key_idx` is the key's place in the trie.
    pub(crate) fn set_state(&mut self, key: StateKey, key_idx: i32, new: StateEvent) {
        let changes = BTreeMap::from([(key_idx, Some(new.nid))]);
        self.header.root = state::set_many(self.db, self.nid, self.header.root, &changes);
        self.slots.insert(key, Slot { key_idx: Some(key_idx), current: Some(new) });
    }

    /// Forgets what was read of the current state, since it has changed.
    pub(crate) fn forget_state(&mut self) {
        self.slots.clear();
    }

    /// Forgets what was read of a key, since its event was rewritten.
    pub(crate) fn forget(&mut self, event_nid: i64) {
        self.slots.retain(|_, slot| slot.current.as_ref().is_none_or(|current| current.nid != event_nid));
    }
}

/// How other events cite this one.
pub fn reference(version: &RoomVersion, event: &Event) -> EventReference {
    let sha256 = if version.event_id_in_event() {
        base64::encode(reference_hash(version, event.json()))
    } else {
        String::new()
    };
    EventReference { event_id: event.event_id().to_owned(), sha256 }
}

/// An event's JSON as `events.json` has it.
///
/// # Panics
///
/// If the row is damaged.
pub fn parse_stored(json: &str) -> Map {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("a stored event is not a JSON object: {error}"))
}
