//! A room as a user may read it: up to which position, and in which state.

use std::rc::Rc;

use matriarch_rules::sync_token::SyncToken;

use crate::{
    base::{
        account_data::ignored_users,
        response::{MatrixError, Result},
        session::Session,
        spi::Db,
        token::Token,
    },
    read::{
        erasures,
        stored_event::{Events, StoredEvent},
        timeline,
        visibility::{Keys, Reader, Standing},
    },
    room::{partial::wait_until_whole, state_at::StateAt},
    trie,
};

/// A room and its reader.
pub struct ReadableRoom {
    pub room_nid: i64,
    pub room_id: String,
    /// Whether the room is in the public room directory.
    pub published: bool,
    /// The reader's current membership; `None` if they never had one or forgot the room.
    pub membership: Option<String>,
    pub reader: Reader,
    pub first_pos: i64,
    pub last_pos: i64,
    /// Whether the room has gaps.
    pub has_gaps: bool,
    /// Whether users were erased who were in the room.
    has_erasures: bool,
    /// Whether the room is partial: members are missing in its state.
    partial: bool,
    current_root: i64,
    world_readable: bool,
}

const OPEN: &str = "
    select r.room_nid, r.room_id, r.published, r.first_pos, r.last_pos, r.current_root,
        m.membership, m.event_nid, coalesce(m.forgotten, false) as forgotten,
        (
            select key_idx
            from room_state_keys
            where room_nid = r.room_nid and type = 'm.room.member' and state_key = $3
        ) as member_key,
        (
            select key_idx
            from room_state_keys
            where room_nid = r.room_nid and type = 'm.room.history_visibility' and state_key = ''
        ) as visibility_key,
        exists (select from missing_prev_events where room_nid = r.room_nid) as has_gaps, r.partial,
        exists (select from erasures where room_nid = r.room_nid) as has_erasures,
        (
            select content
            from account_data
            where user_nid = $2 and room_nid = 0 and type = 'm.ignored_user_list'
        ) as ignored
    from rooms r
    left join memberships m on m.room_nid = r.room_nid and m.user_nid = $2
    where r.room_id = $1";

impl ReadableRoom {
    /// Finds a room for a reader, without checking what they may see; `None` if the room is not known.
    pub fn find(db: &Db<'_>, events: &Events<'_, '_>, session: &Session, room_id: &str) -> Option<Self> {
        let args = [room_id.into(), session.user_nid.into(), session.user_id.as_str().into()];
        let row = db.query_opt(OPEN, &args)?;
        // A user who forgot the room is treated like one who was never in it.
        let forgotten: bool = row.get("forgotten");
        let membership: Option<String> = row.opt::<String>("membership").filter(|_| !forgotten);
        let member_event: Option<i64> = row.opt::<i64>("event_nid").filter(|_| !forgotten);
        let keys = Keys {
            member: row.opt::<i32>("member_key").filter(|_| !forgotten),
            visibility: row.opt("visibility_key"),
        };
        if let (Some(nid), Some(membership)) = (member_event, &membership) {
            events.note_membership(nid, membership);
        }
        let ignored = row.opt::<String>("ignored").map(|list| ignored_users(&list, &session.user_id));
        let current_root = row.get("current_root");
        let standing = Standing::find(events, db, keys.member, member_event);
        let visibility = keys.visibility.and_then(|key| trie::get(db, current_root, key));
        let world_readable = visibility.is_some_and(|nid| {
            events.get(nid).content_str("history_visibility").as_deref() == Some("world_readable")
        });
        Some(Self {
            room_nid: row.get("room_nid"),
            room_id: row.get("room_id"),
            published: row.get("published"),
            first_pos: row.get("first_pos"),
            last_pos: row.get("last_pos"),
            has_gaps: row.get("has_gaps"),
            has_erasures: row.get("has_erasures"),
            partial: row.get("partial"),
            current_root,
            membership,
            reader: Reader::new(
                session.user_nid,
                session.user_id.as_str().into(),
                standing,
                keys,
                ignored.unwrap_or_default().into(),
            ),
            world_readable,
        })
    }

    /// Opens a room for reading, if it [is readable](Self::is_readable) to the reader. 403 `M_FORBIDDEN`
    /// otherwise, also if there is no such room.
    pub fn open(db: &Db<'_>, events: &Events<'_, '_>, session: &Session, room_id: &str) -> Result<Self> {
        Self::find(db, events, session, room_id)
            .filter(Self::is_readable)
            .ok_or_else(|| MatrixError::forbidden("You are not a member of this room."))
    }

    /// Whether the reader may read more than single events: for members, former members, and for any user
    /// while the room is world-readable.
    pub fn is_readable(&self) -> bool {
        self.world_readable || !matches!(self.reader.standing, Standing::Outside)
    }

    /// The event by which the reader left; `None` if they are joined or never were.
    fn leave(&self) -> Option<&Rc<StoredEvent>> {
        match &self.reader.standing {
            Standing::Left(leave) => Some(leave),
            Standing::Joined | Standing::Outside => None,
        }
    }

    /// For requests that return all members: makes them wait while members of a partial room are missing.
    /// Former members do not wait; they get the members that were known.
    pub fn await_whole(&self) -> Result<()> {
        if self.partial && matches!(self.reader.standing, Standing::Joined) {
            Err(wait_until_whole())
        } else {
            Ok(())
        }
    }

    /// The last position that the reader may read: where they left, or else the end of the timeline.
    pub fn upto(&self) -> i64 {
        match self.leave() {
            Some(leave) if !self.world_readable => leave.pos.unwrap_or(i64::MIN),
            _ => self.last_pos,
        }
    }

    /// Replaces events of erased users by redacted copies, for readers who joined later.
    pub fn redact_erased(&self, db: &Db<'_>, events: &Events<'_, '_>, part: &mut [Rc<StoredEvent>]) {
        if self.has_erasures {
            erasures::redact(db, self.room_nid, part, |root| self.reader.was_joined(db, events, root));
        }
    }

    /// Whether the reader may read events that are sent later.
    pub fn goes_on(&self) -> bool {
        self.world_readable || self.leave().is_none()
    }

    /// The state that the reader may read: the current state, or for former members the state when they left.
    /// 404 `M_NOT_FOUND` if that is unknown.
    pub fn state(&self) -> Result<StateAt> {
        match self.leave() {
            Some(leave) => leave.after().ok_or_else(|| MatrixError::not_found("The state is not known.")),
            None => Ok(StateAt::root(self.current_root)),
        }
    }

    /// [`Self::state`] of a room that was found and not opened; `None` if the reader may not read it.
    pub fn readable_state(&self) -> Option<StateAt> {
        if self.is_readable() { self.state().ok() } else { None }
    }

    /// The position that a token stands for in this room, at most [`upto`](Self::upto).
    pub fn position_of(&self, db: &Db<'_>, events: &Events<'_, '_>, token: &Token) -> i64 {
        match token {
            Token::Position(pos) => *pos,
            Token::Sync(token) => self.position_of_sync(db, events, token),
        }
        .min(self.upto())
    }

    fn position_of_sync(&self, db: &Db<'_>, events: &Events<'_, '_>, token: &SyncToken) -> i64 {
        let newest = timeline::newest_seen(db, events, &[(self.room_nid, token)]).pop().flatten();
        newest.and_then(|event| event.pos).unwrap_or(self.first_pos - 1)
    }
}
