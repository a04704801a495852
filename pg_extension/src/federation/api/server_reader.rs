//! Which events another server may see. Client-Server API, "Room History Visibility": what one of its users may.

use std::{
    cell::{OnceCell, RefCell},
    collections::HashMap,
    rc::Rc,
};

use matriarch_rules::identifiers::server_name;

use crate::{
    read::stored_event::{Events, StoredEvent},
    room::Room,
    trie,
};

/// How many members are looked at together: mostly one of the first is enough.
const CHUNK: usize = 64;

const MEMBER_KEYS: &str = "
    select key_idx
    from room_state_keys
    where room_nid = $1 and type = 'm.room.member' and substr(state_key, strpos(state_key, ':') + 1) = $2
    order by key_idx";

/// A server with users in a room, that reads its events.
pub struct ServerReader<'r, 'd> {
    room: &'r Room<'d>,
    origin: &'r str,
    visibility_key: Option<i32>,
    /// The places of its users' memberships, read when a room's history is not open to all who join.
    member_keys: OnceCell<Vec<i32>>,
    /// The best membership that its users have in a state, by root.
    memberships: RefCell<HashMap<i64, Membership>>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Membership {
    Outside,
    Invited,
    Joined,
}

impl Membership {
    fn of(name: &str) -> Self {
        match name {
            "join" => Self::Joined,
            "invite" => Self::Invited,
            _ => Self::Outside,
        }
    }
}

impl<'r, 'd> ServerReader<'r, 'd> {
    pub fn new(room: &'r mut Room<'d>, origin: &'r str) -> Self {
        let visibility_key = room.slot("m.room.history_visibility", "").key_idx;
        let room = &*room;
        Self { room, origin, visibility_key, member_keys: OnceCell::new(), memberships: RefCell::default() }
    }

    /// Whether the server may see an event of its room. Of events outside the graph it may see state: it gets that anyway,
    /// with the states and authorization chains of others.
    pub fn sees(&self, events: &Events<'_, '_>, event: &StoredEvent) -> bool {
        let Some(root) = event.state_before else { return event.state_key.is_some() };
        let before = self
            .visibility_key
            .and_then(|key| trie::get(self.room.db, root, key))
            .and_then(|nid| events.get(nid).content_str("history_visibility"))
            .unwrap_or_default();
        // For these two kinds what the event makes of it counts as well.
        let own = event.state_key.as_deref().filter(|_| event.event_type == "m.room.member");
        if own.is_some_and(|user_id| server_name(user_id) == Some(self.origin))
            && allows(&before, || Membership::of(&events.membership(event.event_nid)))
        {
            return true;
        }
        if event.is("m.room.history_visibility", "") {
            let after = event.content_str("history_visibility").unwrap_or_default();
            if allows(&after, || self.membership_in(events, root)) {
                return true;
            }
        }
        allows(&before, || self.membership_in(events, root))
    }

    /// Whether one of its users was joined in this state.
    pub fn was_joined(&self, events: &Events<'_, '_>, root: i64) -> bool {
        self.membership_in(events, root) == Membership::Joined
    }

    fn membership_in(&self, events: &Events<'_, '_>, root: i64) -> Membership {
        if let Some(known) = self.memberships.borrow().get(&root) {
            return *known;
        }
        let mut best = Membership::Outside;
        for keys in self.member_keys().chunks(CHUNK) {
            let nids: Vec<i64> = trie::get_many(self.room.db, root, keys).into_iter().flatten().collect();
            events.load(nids.iter().copied());
            let of_chunk = nids.into_iter().map(|nid| Membership::of(&events.membership(nid))).max();
            best = best.max(of_chunk.unwrap_or(Membership::Outside));
            if best == Membership::Joined {
                break;
            }
        }
        self.memberships.borrow_mut().insert(root, best);
        best
    }

    fn member_keys(&self) -> &[i32] {
        self.member_keys.get_or_init(|| {
            let args = [self.room.nid.into(), self.origin.into()];
            self.room.db.query(MEMBER_KEYS, &args).map(|row| row.get("key_idx")).collect()
        })
    }
}

/// Whether a visibility lets a server in the room see an event.
fn allows(visibility: &str, membership: impl FnOnce() -> Membership) -> bool {
    match visibility {
        "joined" => membership() == Membership::Joined,
        "invited" => membership() >= Membership::Invited,
        // World-readable, shared, and whatever is not understood.
        _ => true,
    }
}

/// Reads what judging these events will need.
pub fn prepare(room: &Room<'_>, part: &[Rc<StoredEvent>]) {
    trie::prefetch(room.db, part.iter().filter_map(|event| event.state_before));
}
