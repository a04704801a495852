//! Membership events of rooms that one of two servers is not in.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The event by which a user of this server joins, knocks or leaves a room of other servers: the answer of
/// `sign_membership`. Written by the extension, read by the node, which sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedMembership {
    pub event_id: String,
    pub event: Value,
}

/// An event of another server that cannot be judged yet: in the body of `federation_send_membership`, with
/// [`Outcome::NeedsEvents`](crate::Outcome::NeedsEvents). Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NeedsEvents {
    /// The event as JSON text, signed by this server too where a user of it authorizes the join.
    pub event: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn signed_memberships() {
        let event = json!({ "type": "m.room.member" });
        let signed = SignedMembership { event_id: "$a".to_owned(), event };
        assert_round_trip(&signed, json!({ "event_id": "$a", "event": { "type": "m.room.member" } }));
        assert_round_trip(&NeedsEvents { event: "{}".to_owned() }, json!({ "event": "{}" }));
    }

    #[test]
    fn an_error_goes_with_what_is_needed() {
        let body = r#"{"errcode": "M_INVALID_PARAM", "error": "…", "event": "{}"}"#;
        let needed = NeedsEvents { event: "{}".to_owned() };
        assert_eq!(serde_json::from_str::<NeedsEvents>(body).unwrap(), needed);
    }
}
