//! Parsing of JSON from clients and other servers.
//!
//! `serde_json` keeps the last of several equal keys, other servers keep the first or refuse the text, so two
//! servers could read different events under the same signature. So duplicate keys are refused here, and also
//! nesting deeper than any sensible event has.

use std::{cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Value, map::Entry};

use crate::Map;

mod document;
mod exact;
pub(crate) mod number_texts;

pub use document::Document;
pub use exact::{ExactObject, ExactRef};
pub use number_texts::NumberTexts;

/// How deeply arrays and objects may be nested in requests of clients.
pub const MAX_NESTING: usize = 100;

/// How deeply arrays and objects may be nested in an EDU, which wraps what clients send.
pub const MAX_EDU_NESTING: usize = MAX_NESTING + 8;

/// How deeply arrays and objects may be nested in a PDU: as deeply as `serde_json` reads, which reads stored
/// events again, and Synapse takes.
pub const MAX_PDU_NESTING: usize = 127;

/// Why a text was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, a string with half of a surrogate pair, or text after the value.
    #[error("not JSON: {0}")]
    NotJson(String),
    /// An object has the same key twice.
    #[error("an object has the key {0:?} twice")]
    DuplicateKey(String),
    /// Arrays and objects are nested deeper than so many levels.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
    /// JSON, but not an object.
    #[error("not a JSON object")]
    NotAnObject,
}

/// Parses any JSON value.
pub fn parse_value(text: &str) -> Result<Value, JsonError> {
    parse_nested(text, MAX_NESTING)
}

fn parse_nested(text: &str, max_nesting: usize) -> Result<Value, JsonError> {
    let refusal = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let seed = Strict { max_nesting, levels_left: max_nesting, refusal: &refusal };
    seed.deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value))
        .map_err(|error| refusal.take().unwrap_or_else(|| JsonError::NotJson(error.to_string())))
}

/// Parses a JSON object.
pub fn parse_object(text: &str) -> Result<Map, JsonError> {
    match parse_value(text)? {
        Value::Object(map) => Ok(map),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Parses a PDU, and keeps its numbers as they stand in the text.
pub fn parse_pdu(text: &str) -> Result<ExactObject, JsonError> {
    match parse_nested(text, MAX_PDU_NESTING)? {
        Value::Object(object) => Ok(ExactObject { object, numbers: NumberTexts::of(text) }),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Reads an object in which one bad value must not spoil the others, such as an answer or an EDU of another
/// server: what is nested too deeply, or is no value of Rust, becomes `null`; of equal keys the last counts.
pub fn parse_leniently(text: &str, max_nesting: usize) -> Result<Map, JsonError> {
    match Document::parse(text)?.value(max_nesting) {
        Value::Object(object) => Ok(object),
        _ => Err(JsonError::NotAnObject),
    }
}

/// Deserializes a [`Value`]. Stores in `refusal` why it refused a text that is valid for `serde_json`.
#[derive(Clone, Copy)]
struct Strict<'a> {
    max_nesting: usize,
    levels_left: usize,
    refusal: &'a Cell<Option<JsonError>>,
}

impl Strict<'_> {
    fn refuse<E: de::Error>(self, refusal: JsonError) -> E {
        let error = E::custom(&refusal);
        self.refusal.set(Some(refusal));
        error
    }

    /// The deserializer for the values inside an array or object.
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(self.refuse(JsonError::TooDeep(self.max_nesting))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        while let Some(value) = access.next_element_seed(inner)? {
            array.push(value);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut map = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            match map.entry(key) {
                Entry::Vacant(entry) => {
                    entry.insert(access.next_value_seed(inner)?);
                }
                Entry::Occupied(entry) => {
                    return Err(self.refuse(JsonError::DuplicateKey(entry.key().clone())));
                }
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests;
