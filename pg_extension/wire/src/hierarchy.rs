//! Spaces across servers: what `hierarchy` and `room_summary` want to know of rooms that this server is not
//! in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A room that other servers are to be asked about: an element of the array in the column `needs` of
/// `hierarchy`. Written by the extension, read by the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomQuestion {
    pub room_id: String,
    /// Servers that may know it.
    pub via: Vec<String>,
}

/// What another server answered about a room: an element of the array in the argument `elsewhere` of
/// `hierarchy` and `room_summary`. Written by the node, read by the extension.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RoomAnswer<'a> {
    /// The room that was asked about.
    #[serde(borrow)]
    pub room_id: Cow<'a, str>,
    /// The body of `GET /_matrix/federation/v1/hierarchy/{roomId}`; absent where no server gave one.
    #[serde(borrow)]
    pub answer: Option<&'a RawValue>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn questions() {
        let question = RoomQuestion { room_id: "!a".to_owned(), via: vec!["one.example".to_owned()] };
        assert_round_trip(&question, json!({ "room_id": "!a", "via": ["one.example"] }));
    }

    #[test]
    fn answers() {
        let raw: &RawValue = serde_json::from_str(r#"{ "room": {} }"#).unwrap();
        for answer in [Some(raw), None] {
            let text = serde_json::to_string(&RoomAnswer { room_id: "!a\u{e9}\"".into(), answer }).unwrap();
            let read: RoomAnswer<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(read.room_id, "!a\u{e9}\"");
            assert_eq!(read.answer.map(RawValue::get), answer.map(RawValue::get));
        }
    }
}
