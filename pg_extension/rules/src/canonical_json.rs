//! Canonical JSON: the encoding that servers hash and sign.
//!
//! Spec: [Canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json). Keys come sorted from
//! [`Map`].
//!
//! For every value that strict encoding accepts, lenient encoding gives the same text. So hashes and
//! signatures of events are always computed with the lenient encoding, and the check of an event's format
//! alone decides whether its numbers are allowed.

use std::fmt::Write;

use serde_json::{Number, Value};

use crate::Map;

/// The greatest integer of canonical JSON, 2^53 - 1; the least is its negative.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Lenient encoding writes floats from this value on with an exponent.
const EXPONENT_FROM: f64 = 1e16;

/// Why a value has no canonical JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalJsonError {
    /// A number with a fraction or an exponent, or `-0`.
    #[error("canonical JSON has no floating-point numbers: {0}")]
    Float(Number),
    /// An integer beyond ±(2^53 - 1).
    #[error("integer outside the range of canonical JSON: {0}")]
    IntegerOutOfRange(Number),
}

/// The canonical JSON of a value, as used since room version 6 and for everything that is not an event.
pub fn to_canonical(value: &Value) -> Result<String, CanonicalJsonError> {
    check_value(value)?;
    Ok(to_canonical_lenient(value))
}

/// The canonical JSON of a value in room versions 1 to 5, which do not limit numbers. Floats with an integral
/// value are written without fraction and exponent, other numbers outside of canonical JSON as serde_json
/// writes them.
pub fn to_canonical_lenient(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value);
    out
}

/// The canonical JSON of an object.
pub fn object_to_canonical(object: &Map) -> Result<String, CanonicalJsonError> {
    check_object(object)?;
    Ok(object_to_canonical_lenient(object))
}

/// [`to_canonical_lenient`] for an object.
pub fn object_to_canonical_lenient(object: &Map) -> String {
    fields_to_canonical_lenient(object.iter().map(|(key, value)| (key.as_str(), value)))
}

/// The canonical JSON of an object made of these fields, which must be sorted by key.
pub(crate) fn fields_to_canonical_lenient<'a>(fields: impl Iterator<Item = (&'a str, &'a Value)>) -> String {
    let mut out = String::with_capacity(1024);
    write_fields(&mut out, fields);
    out
}

/// Checks that canonical JSON allows all numbers in the object.
pub fn check_object(object: &Map) -> Result<(), CanonicalJsonError> {
    object.values().try_for_each(check_value)
}

pub(crate) fn check_value(value: &Value) -> Result<(), CanonicalJsonError> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => Ok(()),
        Value::Number(number) => check_number(number),
        Value::Array(array) => array.iter().try_for_each(check_value),
        Value::Object(object) => check_object(object),
    }
}

fn check_number(number: &Number) -> Result<(), CanonicalJsonError> {
    if number.is_f64() {
        return Err(CanonicalJsonError::Float(number.clone()));
    }
    match number.as_i64() {
        Some(integer) if (-MAX_INTEGER..=MAX_INTEGER).contains(&integer) => Ok(()),
        _ => Err(CanonicalJsonError::IntegerOutOfRange(number.clone())),
    }
}

fn write_value(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(out, number),
        Value::String(string) => write_string(out, string),
        Value::Array(array) => {
            out.push('[');
            for (index, value) in array.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, value);
            }
            out.push(']');
        }
        Value::Object(object) => {
            write_fields(out, object.iter().map(|(key, value)| (key.as_str(), value)));
        }
    }
}

fn write_fields<'a>(out: &mut String, fields: impl Iterator<Item = (&'a str, &'a Value)>) {
    out.push('{');
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value);
    }
    out.push('}');
}

fn write_number(out: &mut String, number: &Number) {
    // Writing to a String cannot fail.
    _ = match number.as_f64() {
        // Integral floats lose fraction and exponent: -0 becomes 0, 1e10 becomes 10000000000.
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < EXPONENT_FROM => {
            write!(out, "{}", float as i64)
        }
        _ => write!(out, "{number}"),
    };
}

/// Writes a string, escaping only the quotation mark, the backslash and control characters.
fn write_string(out: &mut String, string: &str) {
    out.push('"');
    let mut unwritten = 0;
    for (index, byte) in string.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0x08 => "\\b",
            0x0c => "\\f",
            0x00..=0x1f => "",
            _ => continue,
        };
        out.push_str(&string[unwritten..index]);
        unwritten = index + 1;
        if escape.is_empty() {
            _ = write!(out, "\\u{byte:04x}");
        } else {
            out.push_str(escape);
        }
    }
    out.push_str(&string[unwritten..]);
    out.push('"');
}

#[cfg(test)]
mod tests;
