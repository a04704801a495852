//! Local events before they are made.

use matriarch_rules::Map;

use crate::base::users::User;

/// What a local event is made of.
#[derive(Debug, Clone)]
pub struct LocalEvent<'e> {
    pub sender: &'e User,
    pub event_type: &'e str,
    /// Set for state events.
    pub state_key: Option<&'e str>,
    pub content: Map,
    /// The target of an `m.room.redaction`.
    pub redacts: Option<&'e str>,
    /// The device's nid and its transaction id, which make sending idempotent.
    pub transaction: Option<(i64, &'e str)>,
}

impl<'e> LocalEvent<'e> {
    /// A state event of `sender`.
    pub fn state(sender: &'e User, event_type: &'e str, state_key: &'e str, content: Map) -> Self {
        Self { sender, event_type, state_key: Some(state_key), content, redacts: None, transaction: None }
    }
}

/// An event that was appended, or that the current state had already.
#[derive(Debug, Clone)]
pub struct Appended {
    pub event_id: String,
}
