//! Redactions: who may, and what becomes of the target.

use matriarch_rules::{
    Event, canonical_json::object_to_canonical_lenient, power_levels::LevelName, redaction::redact,
};

use crate::{
    base::{
        response::{MatrixError, Result},
        users::User,
    },
    room::{Room, parse_stored},
};

/// An event that may be redacted.
pub(crate) struct Target {
    nid: i64,
    event: Event,
    redacted: bool,
}

impl Target {
    /// An event of the room, or `None` if it is not here.
    pub(crate) fn find(room: &Room<'_>, event_id: &str) -> Option<Self> {
        let row = room.db.query_opt(TARGET, &[event_id.into(), room.nid.into()])?;
        let event = Event::new(row.get::<String>(2), parse_stored(&row.get::<String>(3)));
        Some(Self { nid: row.get(1), event, redacted: row.get(4) })
    }

    pub(crate) fn nid(&self) -> i64 {
        self.nid
    }

    pub(crate) fn event(&self) -> &Event {
        &self.event
    }
}

const TARGET: &str = "
    select event_nid, event_id, json, redacted_by is not null from events where event_id = $1 and room_nid = $2";

/// What clients derive of the content goes with it. `xid` stays: the event is not new in the timeline.
pub(crate) const REDACT: &str = "
    update events
    set json = $2, redacted_by = $3, notifies = false, mentions = null, thread_root_nid = null
    where event_nid = $1";

const REDACT_MEMBERSHIP: &str = "
    update memberships set display_name = null, avatar_url = null
    where room_nid = $1 and user_nid = (select user_nid from users where user_id = $2) and event_nid = $3";

impl Room<'_> {
    /// Finds the target of a redaction, and checks that this user of ours may redact it.
    ///
    /// The authorization rules leave that to us since room version 3. Users redact their own events, and those of
    /// others with the `redact` level (Client-Server API, "Redactions").
    pub(super) fn redaction_target(&mut self, sender: &User, event_id: &str) -> Result<Target> {
        // What is in the room is not for those to know who are not.
        if !self.is_joined(&sender.id) {
            return Err(MatrixError::forbidden("You are not in this room."));
        }
        let unknown = || MatrixError::not_found("The event to redact is not in this room.");
        self.write_events();
        let target = Target::find(self, event_id).ok_or_else(unknown)?;
        if target.event.sender() != sender.id
            && !self.power_levels(|levels| levels.may(&sender.id, LevelName::Redact)).unwrap_or(false)
        {
            return Err(MatrixError::forbidden("You may not redact the events of others in this room."));
        }
        Ok(target)
    }

    /// What a stored redaction redacts.
    pub fn redaction_of(&self, json: &str) -> Option<String> {
        Event::new(String::new(), parse_stored(json)).redacts(self.version).map(str::to_owned)
    }

    /// Strips the target, once.
    pub(crate) fn redact(&mut self, target: &Target, redaction_nid: i64) {
        if target.redacted {
            return;
        }
        let event = &target.event;
        let json = object_to_canonical_lenient(&redact(self.version, event.json().clone()));
        self.db.execute(REDACT, &[target.nid.into(), json.into(), redaction_nid.into()]);
        if let ("m.room.member", Some(user_id)) = (event.event_type(), event.state_key()) {
            self.db.execute(REDACT_MEMBERSHIP, &[self.nid.into(), user_id.into(), target.nid.into()]);
        }
        if event.is_state() {
            self.rewritten(target.nid);
        }
    }
}
