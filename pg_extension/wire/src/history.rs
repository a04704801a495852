//! History that is missing here.

use serde::{Deserialize, Serialize};

/// The event closest to a time: the body of `timestamp_to_event`, which is the client's and the other
/// server's as well. Written by the extension; read by the node where a gap may hide a closer one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosestEvent {
    pub event_id: String,
    /// Milliseconds since 1970.
    pub origin_server_ts: i64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn closest_events() {
        let closest = ClosestEvent { event_id: "$a".to_owned(), origin_server_ts: 5 };
        assert_round_trip(&closest, json!({ "event_id": "$a", "origin_server_ts": 5 }));
    }
}
