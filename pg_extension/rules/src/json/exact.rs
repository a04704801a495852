//! JSON objects with the texts of their numbers.

use std::sync::LazyLock;

use super::NumberTexts;
use crate::{Map, canonical_json::object_to_canonical_lenient};

/// A JSON object, and its numbers as they stand in the text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExactObject {
    /// The object. Fields may be added and removed.
    pub object: Map,
    pub(crate) numbers: NumberTexts,
}

impl ExactObject {
    /// The canonical JSON of the object, with the numbers as they stand.
    pub fn to_canonical(&self) -> String {
        object_to_canonical_lenient(self)
    }
}

impl From<Map> for ExactObject {
    fn from(object: Map) -> Self {
        Self { object, numbers: NumberTexts::default() }
    }
}

/// A borrowed [`ExactObject`].
#[derive(Clone, Copy, Debug)]
pub struct ExactRef<'a> {
    pub(crate) object: &'a Map,
    pub(crate) numbers: &'a NumberTexts,
}

impl<'a> From<&'a ExactObject> for ExactRef<'a> {
    fn from(exact: &'a ExactObject) -> Self {
        Self { object: &exact.object, numbers: &exact.numbers }
    }
}

impl<'a> From<&'a Map> for ExactRef<'a> {
    fn from(object: &'a Map) -> Self {
        static NONE: LazyLock<NumberTexts> = LazyLock::new(NumberTexts::default);
        Self { object, numbers: &NONE }
    }
}
