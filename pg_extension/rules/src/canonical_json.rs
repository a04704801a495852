//! Canonical JSON: the encoding that servers hash and sign.
//!
//! Spec: [Canonical JSON](https://spec.matrix.org/v1.19/appendices/#canonical-json). Keys come sorted from
//! [`Map`].
//!
//! For every value that strict encoding accepts, lenient encoding gives the same text. So hashes and
//! signatures of events are always computed with the lenient encoding, and the check of an event's format
//! alone decides whether its numbers are allowed.

use std::{fmt::Write, ops::Range};

use serde_json::{Number, Value};

use crate::{
    Map,
    json::{ExactRef, NumberTexts, number_texts::KeptNumbers},
};

/// The greatest integer of canonical JSON, 2^53 - 1; the least is its negative.
pub const MAX_INTEGER: i64 = (1 << 53) - 1;

/// Python writes floats without exponent where it is among these.
const PLAIN_EXPONENTS: Range<i32> = -4..16;

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

/// The canonical JSON of a value, as room versions since 6 and signed objects that are no events require it.
pub fn to_canonical(value: &Value) -> Result<String, CanonicalJsonError> {
    check_value(value)?;
    Ok(to_canonical_lenient(value))
}

/// The canonical JSON of a value whose numbers are not limited, as those of events in room versions 1 to 5
/// and of clients' content. Numbers are written as Python writes them: servers in Python sign and check what
/// they have parsed and written again.
pub fn to_canonical_lenient(value: &Value) -> String {
    let mut out = String::new();
    write_value(&mut out, value, KeptNumbers::default());
    out
}

/// The canonical JSON of an object.
pub fn object_to_canonical(object: &Map) -> Result<String, CanonicalJsonError> {
    check_object(object)?;
    Ok(object_to_canonical_lenient(object))
}

/// [`to_canonical_lenient`] for an object; numbers whose texts are kept stay as they stand.
pub fn object_to_canonical_lenient<'a>(object: impl Into<ExactRef<'a>>) -> String {
    let object = object.into();
    fields_to_canonical_lenient(
        object.object.iter().map(|(key, value)| (key.as_str(), value)),
        object.numbers,
    )
}

/// The canonical JSON of an object made of these fields, which must be sorted by key.
pub(crate) fn fields_to_canonical_lenient<'a>(
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    numbers: &NumberTexts,
) -> String {
    let mut out = String::with_capacity(1024);
    write_fields(&mut out, fields, |key| numbers.at_key(key));
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

/// Checks that servers of all kinds can read all numbers in an object whose room version does not limit them:
/// some have no integers beyond 64 bits, and would stop at an event with one.
pub(crate) fn check_64_bits(object: &Map) -> Result<(), CanonicalJsonError> {
    fn check(value: &Value) -> Result<(), CanonicalJsonError> {
        match value {
            Value::Number(number) if number.is_u64() && !number.is_i64() => {
                Err(CanonicalJsonError::IntegerOutOfRange(number.clone()))
            }
            Value::Array(array) => array.iter().try_for_each(check),
            Value::Object(object) => object.values().try_for_each(check),
            _ => Ok(()),
        }
    }
    object.values().try_for_each(check)
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

fn write_value(out: &mut String, value: &Value, kept: KeptNumbers<'_>) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => match kept.text() {
            Some(text) => out.push_str(text),
            None => write_number(out, number),
        },
        Value::String(string) => write_string(out, string),
        Value::Array(array) => {
            out.push('[');
            for (index, value) in array.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, value, kept.at_index(index));
            }
            out.push(']');
        }
        Value::Object(object) => {
            write_fields(out, object.iter().map(|(key, value)| (key.as_str(), value)), |key| {
                kept.at_key(key)
            });
        }
    }
}

fn write_fields<'a, 'n>(
    out: &mut String,
    fields: impl Iterator<Item = (&'a str, &'a Value)>,
    kept: impl Fn(&str) -> KeptNumbers<'n>,
) {
    out.push('{');
    for (index, (key, value)) in fields.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_string(out, key);
        out.push(':');
        write_value(out, value, kept(key));
    }
    out.push('}');
}

/// A number as Python's `json` writes it: a float with the fewest digits that tell it from all others, always
/// with a fraction or an exponent (`1.0`, `-0.0`, `1e-05`, `1e+16`).
pub(crate) fn as_python_writes(number: &Number) -> String {
    let mut out = String::new();
    write_number(&mut out, number);
    out
}

fn write_number(out: &mut String, number: &Number) {
    // Writing to a String cannot fail.
    _ = match number.as_f64() {
        Some(float) if number.is_f64() => write_float(out, float),
        _ => write!(out, "{number}"),
    };
}

fn write_float(out: &mut String, float: f64) -> std::fmt::Result {
    // Like Python, Rust writes the fewest digits that suffice.
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !PLAIN_EXPONENTS.contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return write!(out, "{digits}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{float}");
    let fraction = if plain.contains('.') { "" } else { ".0" };
    write!(out, "{plain}{fraction}")
}

/// Writes a string, escaping only the quotation mark, the backslash and control characters.
pub(crate) fn write_string(out: &mut String, string: &str) {
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
