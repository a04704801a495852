//! The state of a room, as the authorization rules read it.

use std::ops::Deref;

use serde_json::Value;

use crate::{Event, RoomVersion};

/// The state that an event is checked against.
pub(super) struct State<'v, E, F> {
    pub(super) version: &'v RoomVersion,
    pub(super) create: E,
    pub(super) fetch: F,
}

/// A user's membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    Join,
    Invite,
    Leave,
    Ban,
    Knock,
    Unknown,
}

impl Membership {
    pub(super) fn of(event: &Event) -> Self {
        match event.content().get("membership").and_then(Value::as_str) {
            Some("join") => Self::Join,
            Some("invite") => Self::Invite,
            Some("leave") => Self::Leave,
            Some("ban") => Self::Ban,
            Some("knock") => Self::Knock,
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_join(self) -> bool {
        self == Self::Join
    }
}

impl<E, F> State<'_, E, F>
where
    E: Deref<Target = Event>,
    F: Fn(&str, &str) -> Option<E>,
{
    /// A user's membership; `leave` if there is no member event.
    pub(super) fn membership(&self, user_id: &str) -> Membership {
        (self.fetch)("m.room.member", user_id).map_or(Membership::Leave, |event| Membership::of(&event))
    }

    pub(super) fn power_levels_event(&self) -> Option<E> {
        (self.fetch)("m.room.power_levels", "")
    }

    pub(super) fn join_rules_event(&self) -> Option<E> {
        (self.fetch)("m.room.join_rules", "")
    }
}
