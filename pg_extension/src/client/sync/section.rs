//! The section of a joined or left room in the answer to one asker.

use std::rc::Rc;

use matriarch_rules::sync_token::SyncToken;

use super::{
    Asker,
    account_data::{Datum, Ignored},
    ephemeral::Receipt,
    parts::Part,
    room_timeline::RoomTimeline,
    unread::Unread,
};
use crate::{
    base::spi::Db,
    read::{
        stored_event::{Events, StoredEvent},
        timeline,
        visibility::{Keys, Reader, Standing},
    },
    room::state_at::StateAt,
};

/// A room in the section `join` or `leave` of an answer.
pub struct Section<'a> {
    /// The index of the asker.
    pub index: usize,
    pub asker: &'a Asker,
    pub part: &'a Part,
    pub reader: Reader,
    member_key: Option<i32>,
    /// The asker's token; `None` if the client gets the whole room, as on an initial sync and after joining.
    pub since: Option<&'a SyncToken>,
    pub timeline: RoomTimeline,
    /// The members in the summary's `m.heroes`.
    pub heroes: Vec<String>,
    /// The listed state.
    pub state: Vec<Rc<StoredEvent>>,
    pub unread: Unread,
    pub receipts: Vec<Receipt>,
    /// The users who are typing; `None` if the client is not told.
    pub typing: Option<Vec<String>>,
    pub account_data: Vec<Datum>,
}

const KEYS: &str = "
    select w.number,
        (
            select key_idx
            from room_state_keys
            where room_nid = w.room_nid and type = 'm.room.member' and state_key = w.user_id
        ) as member_key,
        (
            select key_idx
            from room_state_keys
            where room_nid = w.room_nid and type = 'm.room.history_visibility' and state_key = ''
        ) as visibility_key
    from unnest($1::bigint[], $2::text[]) with ordinality w (room_nid, user_id, number)";

impl<'a> Section<'a> {
    /// Makes the sections of joined or left rooms.
    pub fn open_all(
        db: &Db<'_>,
        events: &Events<'_, '_>,
        parts: &[(usize, &'a Asker, &'a Part)],
        ignored: &Ignored,
    ) -> Vec<Self> {
        events.load(parts.iter().filter(|(.., part)| part.is_left()).map(|(.., part)| part.member_event_nid));
        let rooms: Vec<i64> = parts.iter().map(|(.., part)| part.room.room_nid).collect();
        let users: Vec<String> = parts.iter().map(|(_, asker, _)| asker.session.user_id.clone()).collect();
        let mut keys = vec![Keys::default(); parts.len()];
        for row in db.query(KEYS, &[rooms.into(), users.into()]) {
            keys[row.get::<i64>("number") as usize - 1] =
                Keys { member: row.opt("member_key"), visibility: row.opt("visibility_key") };
        }
        let mut sections: Vec<Self> =
            parts.iter().zip(keys).map(|(&part, keys)| Self::open(db, events, part, keys, ignored)).collect();
        forget_unjoined(db, events, &mut sections);
        sections
    }

    fn open(
        db: &Db<'_>,
        events: &Events<'_, '_>,
        (index, asker, part): (usize, &'a Asker, &'a Part),
        keys: Keys,
        ignored: &Ignored,
    ) -> Self {
        events.note_membership(part.member_event_nid, &part.membership);
        // The client was not told of the room while it was partial.
        let is_untold = part.was_partial && part.is_joined() && !asker.loads_members_lazily();
        let standing = if part.is_joined() {
            Standing::Joined
        } else {
            Standing::find(events, db, keys.member, Some(part.member_event_nid))
        };
        Self {
            index,
            asker,
            part,
            reader: Reader::new(
                asker.session.user_nid,
                asker.session.user_id.as_str().into(),
                standing,
                keys,
                ignored.get(&asker.session.user_nid).cloned().unwrap_or_default(),
            ),
            member_key: keys.member,
            since: asker.since.as_ref().filter(|_| !is_untold),
            timeline: RoomTimeline::default(),
            heroes: Vec::new(),
            state: Vec::new(),
            unread: Unread::default(),
            receipts: Vec::new(),
            typing: None,
            account_data: Vec::new(),
        }
    }

    /// The state at the end of the timeline: the current state, or the state when the user left. `None` for
    /// users who never were joined or forgot the room, and if the state is unknown.
    pub fn end(&self) -> Option<StateAt> {
        match &self.reader.standing {
            _ if self.part.forgotten => None,
            Standing::Joined => Some(StateAt::root(self.part.room.current_root)),
            Standing::Left(leave) => leave.after(),
            Standing::Outside => None,
        }
    }

    /// Whether the token sees that the user left. The client then only gets later changes of the user's
    /// membership.
    pub fn is_over(&self) -> bool {
        match (&self.reader.standing, self.since) {
            (Standing::Left(leave), Some(since)) => since.sees(leave.xid.0),
            _ => false,
        }
    }

    /// Whether the whole state is sent and not only changes; also if the room was partial when the token was
    /// made.
    pub fn is_full(&self) -> bool {
        self.since.is_none() || self.asker.full_state || (self.part.was_partial && self.part.is_joined())
    }

    /// Whether the client is told what this event of the listed state replaced: all that changed since the
    /// token, and otherwise only the user's own membership, by which clients tell direct chats.
    pub fn tells_replaced(&self, event: &StoredEvent) -> bool {
        !self.is_full() || event.is_member(&self.reader.user_id)
    }

    /// Whether the user was joined in the state after this event.
    fn was_joined(
        &self,
        db: &Db<'_>,
        events: &Events<'_, '_>,
        newest_known: Option<&Rc<StoredEvent>>,
    ) -> bool {
        newest_known
            .and_then(|event| event.after()?.get(db, self.member_key?))
            .is_some_and(|nid| &*events.membership(nid) == "join")
    }
}

/// Ignores `since` for rooms that the user had not joined at that token: the client knows nothing of them.
fn forget_unjoined(db: &Db<'_>, events: &Events<'_, '_>, sections: &mut [Section<'_>]) {
    let mut moved: Vec<&mut Section<'_>> = sections
        .iter_mut()
        .filter(|section| section.part.member_new && section.since.is_some() && !section.is_over())
        .collect();
    let places: Vec<(i64, &SyncToken)> =
        moved.iter().filter_map(|section| Some((section.part.room.room_nid, section.since?))).collect();
    let known = timeline::newest_seen(db, events, &places);
    for (section, known) in moved.iter_mut().zip(&known) {
        if !section.was_joined(db, events, known.as_ref()) {
            section.since = None;
        }
    }
}
