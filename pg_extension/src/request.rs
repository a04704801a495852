//! JSON bodies of requests, as SQL functions get them.

use matriarch_rules::{
    Map,
    json::{JsonError, parse_object},
};
use serde_json::Value;

use crate::response::{MatrixError, Result};

/// Parses a JSON object. 400 `M_NOT_JSON` for what is not JSON, `M_BAD_JSON` for duplicate keys, too much nesting and what
/// is not an object.
pub fn object(text: &str) -> Result<Map> {
    parse_object(text).map_err(|error| match error {
        JsonError::NotJson(_) => MatrixError::new(400, "M_NOT_JSON", format!("The body is {error}.")),
        _ => MatrixError::bad_json(format!("The body cannot be accepted: {error}.")),
    })
}

/// A request's body. A key that is `null` is one that is not there; one of the wrong type is 400 `M_BAD_JSON`.
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

    /// 400 `M_MISSING_PARAM` if it is not there.
    pub fn required_string(&self, key: &str) -> Result<&str> {
        self.string(key)?.ok_or_else(|| MatrixError::missing_param(format!("`{key}` is missing.")))
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>> {
        self.get(key, "a boolean", Value::as_bool)
    }

    pub fn object(&self, key: &str) -> Result<Option<&Map>> {
        self.get(key, "an object", Value::as_object)
    }

    pub fn array(&self, key: &str) -> Result<Option<&[Value]>> {
        self.get(key, "an array", |value| value.as_array().map(Vec::as_slice))
    }

    /// An array of strings; empty if it is not there.
    pub fn strings(&self, key: &str) -> Result<Vec<&str>> {
        let strings = self.get(key, "an array of strings", |value| {
            value.as_array()?.iter().map(Value::as_str).collect::<Option<Vec<_>>>()
        })?;
        Ok(strings.unwrap_or_default())
    }
}
