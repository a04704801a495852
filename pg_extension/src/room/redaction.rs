//! Applies redactions to stored events.

use matriarch_rules::{Event, RoomVersion, identifiers::MAX_ID_BYTES, redaction::redact_exactly};

use crate::room::{Room, parse_exactly, parse_stored};

/// The type of redactions.
pub const REDACTION: &str = "m.room.redaction";

/// The id of the event that this redaction targets; `None` if no stored event can have it.
pub fn target_id<'e>(redaction: &'e Event, version: &RoomVersion) -> Option<&'e str> {
    redaction.redacts(version).filter(|id| id.len() <= MAX_ID_BYTES && !id.contains('\0'))
}

/// An event that a redaction may target.
pub struct Target {
    nid: i64,
    event: Event,
    redacted: bool,
}

impl Target {
    /// Finds the target by its id; `None` if it is not in the room.
    pub fn find(room: &Room<'_>, event_id: &str) -> Option<Self> {
        let row = room.db.query_opt(TARGET, &[event_id.into(), room.nid.into()])?;
        let event = Event::new(row.get::<String>("event_id"), parse_exactly(&row.get::<String>("json")));
        Some(Self { nid: row.get("event_nid"), event, redacted: row.get("is_redacted") })
    }

    pub fn nid(&self) -> i64 {
        self.nid
    }

    pub fn event(&self) -> &Event {
        &self.event
    }
}

const TARGET: &str = "
    select event_nid, event_id, json, redacted_by is not null as is_redacted
    from events
    where event_id = $1 and room_nid = $2";

/// Also clears the columns that were computed from the content, and notes in `notified` that `notify_seq` has
/// counted the event. `xid` stays, because the event is not new in the timeline.
pub const REDACT: &str = "
    update events
    set json = $2, redacted_by = $3, notified = notified or (notifies and thread_root_nid is null),
        notifies = false, mentions = null, thread_root_nid = null
    where event_nid = $1";

/// Keeps a redaction from clients, because it has no effect. Clients would apply it without asking whether it
/// may be applied.
pub const WITHHOLD: &str = "update events set withheld = true, mentions = null where event_nid = $1";

const REDACT_MEMBERSHIP: &str = "
    update memberships set display_name = null, avatar_url = null
    where room_nid = $1 and user_nid = (select user_nid from users where user_id = $2) and event_nid = $3";

impl Room<'_> {
    /// The id of the event that a stored redaction targets.
    pub fn redaction_of(&self, json: &str) -> Option<String> {
        Event::new(String::new(), parse_stored(json)).redacts(self.version).map(str::to_owned)
    }

    /// Redacts the target, unless that was done before.
    pub fn redact(&mut self, target: &Target, redaction_nid: i64) {
        if target.redacted {
            return;
        }
        let event = &target.event;
        let json = redact_exactly(self.version, event.exact().clone()).to_canonical();
        self.db.execute(REDACT, &[target.nid.into(), json.into(), redaction_nid.into()]);
        if let ("m.room.member", Some(user_id)) = (event.event_type(), event.state_key()) {
            self.db.execute(REDACT_MEMBERSHIP, &[self.nid.into(), user_id.into(), target.nid.into()]);
        }
        if event.is_state() {
            self.rewritten(target.nid);
        }
    }
}
