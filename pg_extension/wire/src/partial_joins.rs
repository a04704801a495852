//! Rooms that become whole.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// The answer of `complete_partial_join`. Written by the extension, read by the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompletedJoin {
    /// Ids of events the state before which must be given, or given up, first; nothing was done then.
    #[serde(skip_serializing_if = "BTreeSet::is_empty", default)]
    pub needs: BTreeSet<String>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::round_trip::assert_round_trip;

    #[test]
    fn completed_joins() {
        assert_round_trip(&CompletedJoin::default(), json!({}));
        let needs = BTreeSet::from(["$a".to_owned(), "$b".to_owned()]);
        assert_round_trip(&CompletedJoin { needs }, json!({ "needs": ["$a", "$b"] }));
    }
}
