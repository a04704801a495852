//! Invites between servers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Map;

/// The invite of a user of another server, which is not appended before that server has signed it: the answer
/// of `prepare_invite`. Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PreparedInvite {
    pub event_id: String,
    /// The event, as this server signed it.
    pub event: Map,
    pub room_version: String,
    /// State that the user is shown.
    pub invite_room_state: Vec<Value>,
    /// The name of the room's policy server, which is to sign the invite too.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy_server: Option<String>,
}

/// The invite of a user who proved to have the third-party id that was invited: the answer of
/// `third_party_invite` where the user is of another server. Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvedInvite {
    #[serde(flatten)]
    pub prepared: PreparedInvite,
    /// The keys by which the proof is signed, one of which must be valid still.
    pub keys: Vec<IdentityKey>,
}

/// A key of an identity server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityKey {
    pub public_key: String,
    /// Where to ask whether it is valid. Absent for one that always is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key_validity_url: Option<String>,
}

/// An invite by another server of a user of this one, signed by this one too: the answer of
/// `federation_invite`. Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SignedInvite {
    /// The event as JSON text.
    pub event: String,
    /// The version of a room that users of this server are in: the node has the event taken in like any
    /// other.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inhabited_room_version: Option<String>,
    /// Whether the invite came with stripped state, where signed events would prove the room.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub has_unproven_state: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::{assert_round_trip, map};

    #[test]
    fn prepared_and_proved_invites() {
        let prepared = PreparedInvite {
            event_id: "$a".to_owned(),
            event: map(json!({ "type": "m.room.member" })),
            room_version: "12".to_owned(),
            invite_room_state: vec![json!({ "type": "m.room.name" })],
            policy_server: None,
        };
        let mut json = json!({
            "event_id": "$a",
            "event": { "type": "m.room.member" },
            "room_version": "12",
            "invite_room_state": [{ "type": "m.room.name" }],
        });
        assert_round_trip(&prepared, json.clone());
        let prepared = PreparedInvite { policy_server: Some("policy.example".to_owned()), ..prepared };
        json["policy_server"] = "policy.example".into();
        assert_round_trip(&prepared, json.clone());
        let keys = vec![
            IdentityKey { public_key: "a".to_owned(), key_validity_url: Some("https://id".to_owned()) },
            IdentityKey { public_key: "b".to_owned(), key_validity_url: None },
        ];
        json["keys"] =
            json!([{ "public_key": "a", "key_validity_url": "https://id" }, { "public_key": "b" }]);
        assert_round_trip(&ProvedInvite { prepared, keys }, json);
    }

    #[test]
    fn signed_invites() {
        let (event, inhabited_room_version) = ("{}".to_owned(), None);
        let signed = SignedInvite { event, inhabited_room_version, has_unproven_state: false };
        assert_round_trip(&signed, json!({ "event": "{}" }));
        let signed = SignedInvite { inhabited_room_version: Some("1".to_owned()), ..signed };
        assert_round_trip(&signed, json!({ "event": "{}", "inhabited_room_version": "1" }));
        let signed = SignedInvite { inhabited_room_version: None, has_unproven_state: true, ..signed };
        assert_round_trip(&signed, json!({ "event": "{}", "has_unproven_state": true }));
    }
}
