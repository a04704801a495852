//! Help for tests: what one tier writes is what the other reads.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::Map;

/// Asserts that a value is written as this JSON, and read again as itself.
pub fn assert_round_trip<T: Serialize + DeserializeOwned + Debug + PartialEq>(value: &T, json: Value) {
    assert_eq!(serde_json::to_value(value).unwrap(), json);
    assert_eq!(&rewritten(value), value);
}

/// The value, written and read again.
pub fn rewritten<T: Serialize + DeserializeOwned>(value: &T) -> T {
    serde_json::from_str(&serde_json::to_string(value).unwrap()).unwrap()
}

/// A JSON object.
pub fn map(json: Value) -> Map {
    json.as_object().unwrap().clone()
}
