//! The texts of numbers that a parsed value does not keep.
//!
//! Room versions 1 to 5 allow any number in an event, and its hashes and signatures cover the number as it
//! stands in the text: `1.0`, `1E5`, or more digits than a float has. A parsed number has forgotten that, so
//! it is kept beside the value, for the few numbers that would be written differently.

use std::collections::BTreeMap;

use super::document::{Document, Node};
use crate::canonical_json::as_python_writes;

/// The texts of those numbers in a value that Python would write differently, by their places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NumberTexts(BTreeMap<Place, Kept>);

/// A key of an object, or an index of an array.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Key(String),
    Index(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    Text(String),
    Inside(NumberTexts),
}

/// What is kept of one value.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeptNumbers<'n>(Option<&'n Kept>);

impl NumberTexts {
    /// Those of a text that was parsed before, so that its nesting is limited.
    pub(crate) fn of(text: &str) -> Self {
        if !numbers(text).any(differs) {
            return Self::default();
        }
        match Document::parse(text).map(|document| Self::inside(&document, document.root())) {
            Ok(Some(Kept::Inside(inside))) => inside,
            _ => Self::default(),
        }
    }

    fn inside(document: &Document<'_>, node: &Node<'_>) -> Option<Kept> {
        let inside = |children: &mut dyn Iterator<Item = (Place, &u32)>| {
            let kept: BTreeMap<Place, Kept> = children
                .filter_map(|(place, child)| Some((place, Self::inside(document, document.node(*child))?)))
                .collect();
            (!kept.is_empty()).then_some(Kept::Inside(Self(kept)))
        };
        match node {
            Node::Literal(text) if is_number(text) => differs(text).then(|| Kept::Text((*text).to_owned())),
            Node::Literal(_) | Node::String(_) => None,
            Node::Array(items) => {
                inside(&mut items.iter().enumerate().map(|(index, item)| (Place::Index(index), item)))
            }
            Node::Object(fields) => {
                inside(&mut fields.iter().map(|(key, value)| (Place::Key(key.to_string()), value)))
            }
        }
    }

    /// What is kept of the value at a key of the object.
    pub(crate) fn at_key(&self, key: &str) -> KeptNumbers<'_> {
        // Nearly always nothing is kept, and the key need not be copied.
        KeptNumbers(if self.0.is_empty() { None } else { self.0.get(&Place::Key(key.to_owned())) })
    }
}

impl<'n> KeptNumbers<'n> {
    /// The text of this number.
    pub(crate) fn text(self) -> Option<&'n str> {
        match self.0 {
            Some(Kept::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn at_key(self, key: &str) -> Self {
        match self.0 {
            Some(Kept::Inside(inside)) => inside.at_key(key),
            _ => Self(None),
        }
    }

    pub(crate) fn at_index(self, index: usize) -> Self {
        match self.0 {
            Some(Kept::Inside(inside)) => Self(inside.0.get(&Place::Index(index))),
            _ => Self(None),
        }
    }
}

fn is_number(literal: &str) -> bool {
    literal.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// Whether a number is parsed to a value that is written differently.
fn differs(number: &str) -> bool {
    let is_plain = number.len() <= 15 && number != "-0" && !number.contains(['.', 'e', 'E']);
    !is_plain && serde_json::from_str(number).is_ok_and(|parsed| as_python_writes(&parsed) != number)
}

/// The numbers in a text, assuming that it is JSON.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(byte) = bytes.get(at) {
            let begin = at;
            at += 1;
            match byte {
                b'"' => at = end_of_string(bytes, at),
                b'-' | b'0'..=b'9' => {
                    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
                    at += bytes[at..].iter().take_while(|byte| is_part(byte)).count();
                    return Some(&text[begin..at]);
                }
                _ => {}
            }
        }
        None
    })
}

/// Where a string ends whose opening quotation mark stands before `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    while let Some(byte) = bytes.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte == b'"' {
            break;
        }
    }
    at
}
