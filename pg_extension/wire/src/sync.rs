//! `GET /sync`.

use serde::{Deserialize, Serialize};

/// What a client asks: an element of the argument `requests` of `sync`. Written by the node, read by the
/// extension.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncRequest {
    /// The token of the sync before.
    pub since: Option<String>,
    /// A filter's id, or a filter in JSON.
    pub filter: Option<String>,
    pub full_state: bool,
    /// Whether state is to come under `state_after`.
    pub use_state_after: bool,
    /// Whether it is to come under the name that it had before it was stable. MSC4222.
    pub unstable_use_state_after: bool,
    /// Whether presence was requested: whether this server keeps it.
    pub presence: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn requests() {
        let request = SyncRequest {
            since: Some("s1".to_owned()),
            filter: Some("2".to_owned()),
            full_state: true,
            use_state_after: false,
            unstable_use_state_after: true,
            presence: true,
        };
        let json = json!({
            "since": "s1",
            "filter": "2",
            "full_state": true,
            "use_state_after": false,
            "unstable_use_state_after": true,
            "presence": true,
        });
        assert_round_trip(&request, json);
        assert_eq!(serde_json::from_str::<SyncRequest>("{}").unwrap(), SyncRequest::default());
    }
}
