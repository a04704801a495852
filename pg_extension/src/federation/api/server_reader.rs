//! The events that another server may see: those that one of its users may. Client-Server API, "Room History
//! Visibility".

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

/// The number of members that are read together. Mostly one of the first decides.
const CHUNK: usize = 64;

const MEMBER_KEYS: &str = "
    select key_idx
    from room_state_keys
    where room_nid = $1 and type = 'm.room.member' and substr(state_key, strpos(state_key, ':') + 1) = $2
    order by key_idx";

/// A server that reads events of a room.
pub struct ServerReader<'r, 'd> {
    room: &'r Room<'d>,
    origin: &'r str,
    visibility_key: Option<i32>,
    /// The `key_idx` of the memberships of its users. Read only if the history visibility depends on
    /// memberships.
    member_keys: OnceCell<Vec<i32>>,
    /// The strongest membership of its users in a state, by root.
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

    /// Whether the server may see an event of its room. Of events outside the graph it may see state events:
    /// it gets these anyway, in states and auth chains.
    pub fn sees(&self, events: &Events<'_, '_>, event: &StoredEvent) -> bool {
        let Some(root) = event.state_before else { return event.state_key.is_some() };
        let before = self
            .visibility_key
            .and_then(|key| trie::get(self.room.db, root, key))
            .and_then(|nid| events.get(nid).content_str("history_visibility"))
            .unwrap_or_default();
        // For member events and `m.room.history_visibility` the state after the event counts too.
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

/// Whether a history visibility allows a server with this membership to see an event.
fn allows(visibility: &str, membership: impl FnOnce() -> Membership) -> bool {
    match visibility {
        "joined" => membership() == Membership::Joined,
        "invited" => membership() >= Membership::Invited,
        // `world_readable`, `shared`, and unknown values.
        _ => true,
    }
}

/// Reads the nodes of the trie that these events need, in few queries.
pub fn prepare(room: &Room<'_>, part: &[Rc<StoredEvent>]) {
    trie::prefetch(room.db, part.iter().filter_map(|event| event.state_before));
}
