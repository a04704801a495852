//! Reads the JSON bodies of requests.

use std::{fmt, marker::PhantomData};

use matriarch_rules::{
    Map,
    json::{JsonError, parse_object},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::{Value, error::Category};

use crate::base::response::{MatrixError, Result};

/// Parses a JSON object. 400 `M_NOT_JSON` if the text is not JSON; 400 `M_BAD_JSON` if it is not an object,
/// has duplicate keys or is nested too deeply.
pub fn object(text: &str) -> Result<Map> {
    parse_object(text).map_err(|error| match error {
        JsonError::NotJson(_) => MatrixError::new(400, "M_NOT_JSON", format!("The body is {error}.")),
        _ => MatrixError::bad_json(format!("The body cannot be accepted: {error}.")),
    })
}

/// Reads a body that the API node has checked to be a JSON object. 400 `M_MISSING_PARAM` if it lacks a key
/// that `T` needs, 400 `M_BAD_JSON` if one has the wrong type. `T` may borrow from the text, to keep parts of
/// it unchanged.
pub fn typed<'j, T: Deserialize<'j>>(text: &'j str) -> Result<T> {
    serde_json::from_str(text).map(|ObjectOf(value)| value).map_err(|error| {
        let reason = error.to_string();
        match error.classify() {
            Category::Data if reason.starts_with("missing field") => MatrixError::missing_param(reason),
            Category::Data => MatrixError::bad_json(reason),
            _ => MatrixError::new(400, "M_NOT_JSON", format!("The body is not JSON: {reason}.")),
        }
    })
}

/// A struct that is read from a JSON object only. By itself serde also accepts an array of the fields.
pub struct ObjectOf<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOf<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = ObjectOf<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> std::result::Result<ObjectOf<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(ObjectOf)
    }
}

/// A request's body. A key whose value is `null` counts as absent; one of the wrong type is 400 `M_BAD_JSON`.
#[derive(Debug)]
pub struct Body(Map);

impl Body {
    pub fn parse(text: &str) -> Result<Self> {
        object(text).map(Self)
    }

    fn get<'b, T>(
        &'b self,
        key: &str,
        kind: &str,
        read: impl FnOnce(&'b Value) -> Option<T>,
    ) -> Result<Option<T>> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(MatrixError::bad_json(format!("`{key}` must be {kind}."))),
            },
        }
    }

    pub fn string(&self, key: &str) -> Result<Option<&str>> {
        self.get(key, "a string", Value::as_str)
    }

    /// 400 `M_MISSING_PARAM` if it is absent.
    pub fn required_string(&self, key: &str) -> Result<&str> {
        self.string(key)?.ok_or_else(|| MatrixError::missing_param(format!("`{key}` is missing.")))
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "a boolean", Value::as_bool)
    }

    /// A whole number that is not negative.
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>> {
        self.get(key, "a whole number that is not negative", Value::as_u64)
    }

    /// A whole number.
    pub fn integer(&self, key: &str) -> Result<Option<i64>> {
        self.get(key, "a whole number", Value::as_i64)
    }

    pub fn object(&self, key: &str) -> Result<Option<&Map>> {
        self.get(key, "an object", Value::as_object)
    }

    pub fn array(&self, key: &str) -> Result<Option<&[Value]>> {
        self.get(key, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// An array of strings; empty if it is absent.
    pub fn strings(&self, key: &str) -> Result<Vec<&str>> {
        let strings = self.get(key, "an array of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        })?;
        Ok(strings.unwrap_or_default())
    }
}
