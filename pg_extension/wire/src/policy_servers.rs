//! Events that a room's policy server must sign.

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::Map;

/// An event of this server that its room's policy server must sign before it is appended. Written by the
/// extension, with [`Outcome::SignFirst`](crate::Outcome::SignFirst) or in [`Afterwards`]; read by the node,
/// which hands the signed event to `append_signed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unsigned {
    /// The name of the policy server.
    pub policy_server: String,
    pub room_id: String,
    pub event_id: String,
    /// The event, as this server signed it.
    pub event: Map,
    /// The device and the transaction id of the request that sends the event, for `append_signed`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device_nid: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub txn_id: Option<String>,
    /// The body of the client's answer once the event is appended.
    pub answer: Value,
    /// Where the same request is to be made again with the signed event instead: the argument `created_at` of
    /// `upgrade_room`. Milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_at: Option<i64>,
}

/// The answer to a request that is done, and the events that follow from it. Written by the extension, with
/// [`Outcome::SignAfterwards`](crate::Outcome::SignAfterwards); read by the node.
#[derive(Debug, Serialize, Deserialize)]
pub struct Afterwards {
    /// The body of the client's answer.
    pub answer: Box<RawValue>,
    pub unsigned: Vec<Unsigned>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::{assert_round_trip, map, rewritten};

    fn unsigned() -> Unsigned {
        Unsigned {
            policy_server: "policy.example".to_owned(),
            room_id: "!room".to_owned(),
            event_id: "$event".to_owned(),
            event: map(json!({ "type": "m.room.message" })),
            device_nid: None,
            txn_id: None,
            answer: json!({ "event_id": "$event" }),
            created_at: None,
        }
    }

    #[test]
    fn events_to_be_signed() {
        let json = json!({
            "policy_server": "policy.example",
            "room_id": "!room",
            "event_id": "$event",
            "event": { "type": "m.room.message" },
            "answer": { "event_id": "$event" },
        });
        assert_round_trip(&unsigned(), json.clone());
        let all = Unsigned {
            device_nid: Some(5),
            txn_id: Some("t".to_owned()),
            created_at: Some(1_700_000_000_000),
            ..unsigned()
        };
        let mut more = json;
        more["device_nid"] = 5.into();
        more["txn_id"] = "t".into();
        more["created_at"] = 1_700_000_000_000_i64.into();
        assert_round_trip(&all, more);
    }

    #[test]
    fn events_to_be_signed_afterwards() {
        let answer = RawValue::from_string(r#"{ "room_id": "!room" }"#.to_owned()).unwrap();
        let read = rewritten(&Afterwards { answer, unsigned: vec![unsigned()] });
        assert_eq!(read.answer.get(), r#"{ "room_id": "!room" }"#);
        assert_eq!(read.unsigned, [unsigned()]);
    }
}
