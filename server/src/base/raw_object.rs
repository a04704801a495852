//! JSON objects of other servers, whose values are read one by one, so that a bad one does not spoil the
//! others.

use std::borrow::Cow;
use std::collections::HashMap;

use matriarch_rules::json::{MAX_NESTING, parse_leniently};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// The text of a JSON object.
#[derive(Clone, Debug)]
pub struct RawObject(String);

impl RawObject {
    /// `None` if the text is no JSON object. Numbers and nesting are not limited.
    pub fn parse(text: String) -> Option<Self> {
        fields(&text).is_some().then_some(Self(text))
    }

    /// The value at a key.
    pub fn get(&self, key: &str) -> Option<&RawValue> {
        fields(&self.0)?.remove(key)
    }

    /// The items of the array at a key; `None` if there is no array.
    pub fn items(&self, key: &str) -> Option<Vec<&RawValue>> {
        serde_json::from_str(self.get(key)?.get()).ok()
    }

    /// The strings among the items of the array at a key; empty if there is no array.
    pub fn strings(&self, key: &str) -> Vec<String> {
        let items = self.items(key).unwrap_or_default();
        items.into_iter().filter_map(|item| serde_json::from_str(item.get()).ok()).collect()
    }

    /// The whole object, with `null` for values that cannot be read.
    pub fn object(&self) -> Map<String, Value> {
        parse_leniently(&self.0, MAX_NESTING).unwrap_or_default()
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl Default for RawObject {
    fn default() -> Self {
        Self("{}".to_owned())
    }
}

fn fields(text: &str) -> Option<HashMap<Cow<'_, str>, &RawValue>> {
    serde_json::from_str(text).ok()
}

/// Counts the objects in a text, assuming that it is JSON. When they are parsed, each takes some 600 bytes of
/// memory, however short it is.
pub fn objects(text: &str) -> usize {
    let (mut objects, mut in_string, mut is_escaped) = (0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' if !in_string => objects += 1,
            _ => {}
        }
    }
    objects
}

#[cfg(test)]
mod tests {
    use super::{RawObject, objects};

    #[test]
    fn objects_are_counted_outside_of_strings() {
        assert_eq!(objects(r#"{"a": [{}, {"b{": "{\"{\\"}, {}]}"#), 4);
    }

    #[test]
    fn a_bad_value_spoils_no_other() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let text = format!(r#"{{"pdus": [1e999, {deep}, "\ud800", "ok"], "deep": {deep}, "name": "a"}}"#);
        let object = RawObject::parse(text).expect("an object");
        assert_eq!(object.items("pdus").expect("an array").len(), 4);
        assert_eq!(object.strings("pdus"), ["ok"]);
        assert_eq!(object.object()["name"], "a");
        assert!(object.object()["pdus"][0].is_null());
        assert!(object.items("name").is_none());
        assert!(RawObject::parse("[]".to_owned()).is_none());
    }
}
