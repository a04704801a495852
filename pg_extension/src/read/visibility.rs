//! Which events a reader may see. Client-Server API, "Room History Visibility".

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use crate::{
    base::spi::Db,
    read::stored_event::{Events, StoredEvent},
    trie,
};

/// How many of a user's older member events are read to find their last leave after a join.
const MAX_STEPS: usize = 1000;
/// Events up to this depth are taken as those that created the room.
const FIRST_EVENTS: i64 = 20;

const CITED: &str = "
    select a.event_nid
    from events e
    cross join lateral unnest(e.auth_nids) as cited (event_nid)
    cross join lateral (
        select event_nid, key_idx from events where event_nid = cited.event_nid offset 0
    ) a
    where e.event_nid = $1 and a.key_idx = $2";

/// Whether a user is or was joined to a room.
#[derive(Debug, Clone)]
pub enum Standing {
    Joined,
    /// The user was joined until this event, a leave or ban.
    Left(Rc<StoredEvent>),
    /// The user was never joined.
    Outside,
}

/// A user who reads a room's events.
#[derive(Debug)]
pub struct Reader {
    pub user_nid: i64,
    pub user_id: Rc<str>,
    pub standing: Standing,
    /// The users whom the reader ignores.
    pub ignored: Rc<HashSet<String>>,
    member_key: Option<i32>,
    visibility_key: Option<i32>,
    /// The reader's member event in states, by root.
    members: RefCell<HashMap<i64, Option<i64>>>,
    /// The `m.room.history_visibility` event in states, by root.
    visibilities: RefCell<HashMap<i64, Option<i64>>>,
}

/// The `key_idx` of the state events that visibility depends on.
#[derive(Debug, Default, Clone, Copy)]
pub struct Keys {
    /// The reader's `m.room.member`.
    pub member: Option<i32>,
    /// `m.room.history_visibility`.
    pub visibility: Option<i32>,
}

impl Standing {
    /// Finds whether a user is or was joined. `current` is the nid of their current member event.
    pub fn find(events: &Events<'_, '_>, db: &Db<'_>, member_key: Option<i32>, current: Option<i64>) -> Self {
        let (Some(key), Some(mut nid)) = (member_key, current) else { return Self::Outside };
        if &*events.membership(nid) == "join" {
            return Self::Joined;
        }
        for _ in 0..MAX_STEPS {
            let event = events.get(nid);
            let before = match event.state_before {
                Some(root) => trie::get(db, root, key),
                // The event came with a state. It cites the member event that it replaced.
                None => db.query_opt(CITED, &[nid.into(), key.into()]).map(|row| row.get("event_nid")),
            };
            match before {
                Some(before) if &*events.membership(before) == "join" => return Self::Left(event),
                Some(before) => nid = before,
                None => break,
            }
        }
        Self::Outside
    }

    /// The position up to which the user was joined. They may see shared history up to it.
    fn joined_until(&self) -> i64 {
        match self {
            Self::Joined => i64::MAX,
            Self::Left(leave) => leave.pos.unwrap_or(i64::MIN),
            Self::Outside => i64::MIN,
        }
    }
}

impl Reader {
    pub fn new(
        user_nid: i64,
        user_id: Rc<str>,
        standing: Standing,
        keys: Keys,
        ignored: Rc<HashSet<String>>,
    ) -> Self {
        Self {
            user_nid,
            user_id,
            standing,
            ignored,
            member_key: keys.member,
            visibility_key: keys.visibility,
            members: RefCell::default(),
            visibilities: RefCell::default(),
        }
    }

    /// The reader's member event in a state.
    fn member_in(&self, db: &Db<'_>, root: i64) -> Option<i64> {
        look_up(db, &self.members, root, self.member_key)
    }

    /// The `m.room.history_visibility` event in a state.
    fn visibility_in(&self, db: &Db<'_>, root: i64) -> Option<i64> {
        look_up(db, &self.visibilities, root, self.visibility_key)
    }

    fn membership_in(&self, db: &Db<'_>, events: &Events<'_, '_>, root: i64) -> Rc<str> {
        self.member_in(db, root).map_or_else(|| "leave".into(), |nid| events.membership(nid))
    }

    /// Whether the reader was joined in this state.
    pub fn was_joined(&self, db: &Db<'_>, events: &Events<'_, '_>, root: i64) -> bool {
        &*self.membership_in(db, events, root) == "join"
    }

    /// Whether the event's position is not after the reader's leave.
    pub fn was_there(&self, event: &StoredEvent) -> bool {
        event.pos.is_some_and(|pos| pos <= self.standing.joined_until())
    }

    /// The reader's membership in the state after an event; `None` if unknown.
    pub fn membership_at(
        &self,
        db: &Db<'_>,
        events: &Events<'_, '_>,
        event: &StoredEvent,
    ) -> Option<Rc<str>> {
        if event.is_member(&self.user_id) {
            return Some(events.membership(event.event_nid));
        }
        Some(self.membership_in(db, events, event.state_before?))
    }

    /// Whether the reader may read the state before an event, and so the events of that state.
    pub fn sees_state_before(&self, db: &Db<'_>, events: &Events<'_, '_>, event: &StoredEvent) -> bool {
        let Some(root) = event.state_before else { return false };
        let membership = self.membership_in(db, events, root);
        self.may(&membership, &self.visibility_at(db, events, root), event.pos)
    }

    /// Whether the reader may see missing events just before this event. If the history visibility was set by
    /// an event that is in the gap itself, older events may have had another one, so the answer is yes.
    pub fn may_see_before(&self, db: &Db<'_>, events: &Events<'_, '_>, event: &StoredEvent) -> bool {
        let Some(root) = event.state_before else { return false };
        if self.sees_state_before(db, events, event) {
            return true;
        }
        let rule = self.visibility_in(db, root).map(|nid| events.get(nid));
        rule.is_some_and(|rule| rule.pos.is_none() && rule.depth() > FIRST_EVENTS)
    }

    fn visibility_at(&self, db: &Db<'_>, events: &Events<'_, '_>, root: i64) -> String {
        self.visibility_in(db, root)
            .and_then(|nid| events.get(nid).content_str("history_visibility"))
            .unwrap_or_default()
    }

    fn may(&self, membership: &str, visibility: &str, pos: Option<i64>) -> bool {
        match visibility {
            "world_readable" => true,
            _ if membership == "join" => true,
            "invited" => membership == "invite",
            "joined" => false,
            // `shared` and unknown values.
            _ => pos.is_some_and(|pos| pos < self.standing.joined_until()),
        }
    }

    /// Whether the reader may see the event that another one replaced in the state. It may be known only from
    /// that state: whoever may read the state may see it, and everybody their own memberships.
    pub fn sees_replaced(
        &self,
        db: &Db<'_>,
        events: &Events<'_, '_>,
        replaced: &StoredEvent,
        event: &StoredEvent,
    ) -> bool {
        replaced.is_member(&self.user_id)
            || self.sees(db, events, replaced)
            || self.sees_state_before(db, events, event)
    }

    /// Whether the reader gets an event of the timeline: they may see it, and do not ignore its sender,
    /// unless it is state. No reader gets a withheld redaction. Of an event whose state before is unknown it
    /// must be known in which state it is; see [`Reader::sees_replaced`].
    pub fn sees(&self, db: &Db<'_>, events: &Events<'_, '_>, event: &StoredEvent) -> bool {
        if event.withheld || (event.state_key.is_none() && self.ignored.contains(&event.sender)) {
            return false;
        }
        let Some(root) = event.state_before else { return false };
        let before = self.membership_in(db, events, root);
        if &*before == "join" {
            return true;
        }
        let visibility = self.visibility_at(db, events, root);
        let may = |membership: &str, visibility: &str| self.may(membership, visibility, event.pos);
        if may(&before, &visibility) {
            return true;
        }
        // For the reader's member event and the history visibility itself, the state after the event counts
        // as well.
        if event.is_member(&self.user_id) {
            return may(&events.membership(event.event_nid), &visibility);
        }
        event.is("m.room.history_visibility", "")
            && may(&before, &event.content_str("history_visibility").unwrap_or_default())
    }
}

/// Reads what [`Reader::sees`] needs for these events, for all readers at once.
pub fn prepare(db: &Db<'_>, events: &Events<'_, '_>, jobs: &[(&Reader, &[Rc<StoredEvent>])]) {
    let roots =
        |part: &[Rc<StoredEvent>]| part.iter().filter_map(|event| event.state_before).collect::<Vec<_>>();
    trie::prefetch(db, jobs.iter().flat_map(|(_, part)| roots(part)));
    let mut wanted = Vec::new();
    for (reader, part) in jobs {
        for root in roots(part) {
            match reader.member_in(db, root) {
                Some(nid) if !events.knows_membership(nid) => wanted.push(nid),
                Some(nid) if &*events.membership(nid) == "join" => continue,
                _ => {}
            }
            wanted.extend(reader.visibility_in(db, root));
        }
    }
    events.load(wanted);
}

/// The event for a state key in a state. Remembers it in `found`.
fn look_up(
    db: &Db<'_>,
    found: &RefCell<HashMap<i64, Option<i64>>>,
    root: i64,
    key: Option<i32>,
) -> Option<i64> {
    *found.borrow_mut().entry(root).or_insert_with(|| trie::get(db, root, key?))
}
