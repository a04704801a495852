//! A JSON text taken apart without recursion, whatever its nesting, and with its numbers as they stand.
//!
//! Requests of other servers are signed as whole texts, in which every event and EDU is to be judged by
//! itself: so no number and no nesting may keep the whole from being checked.

use std::borrow::Cow;

use serde_json::Value;

use super::JsonError;
use crate::canonical_json::write_string;

/// A JSON text in parts.
#[derive(Debug)]
pub struct Document<'t> {
    nodes: Vec<Node<'t>>,
    root: u32,
}

/// A value of the text. Arrays and objects name their values by number.
#[derive(Debug)]
pub(crate) enum Node<'t> {
    /// A number, `true`, `false` or `null`, as it stands in the text.
    Literal(&'t str),
    String(Text<'t>),
    Array(Vec<u32>),
    /// Of equal keys the last counts.
    Object(Vec<(Text<'t>, u32)>),
}

/// A string of the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Text<'t> {
    Decoded(Cow<'t, str>),
    /// With half of a surrogate pair, which no string of Rust has: as it stands between the quotation marks.
    Raw(&'t str),
}

impl std::fmt::Display for Text<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Decoded(text) => formatter.write_str(text),
            Self::Raw(text) => formatter.write_str(text),
        }
    }
}

impl Text<'_> {
    fn write(&self, out: &mut String) {
        match self {
            Self::Decoded(text) => write_string(out, text),
            Self::Raw(text) => {
                out.push('"');
                out.push_str(text);
                out.push('"');
            }
        }
    }
}

/// What remains to be written.
enum Step<'d> {
    Value(u32),
    Key(&'d Text<'d>),
    Mark(char),
}

impl<'t> Document<'t> {
    /// Takes a text apart.
    ///
    /// # Errors
    ///
    /// [`JsonError::NotJson`]
    pub fn parse(text: &'t str) -> Result<Self, JsonError> {
        Parser { text, at: 0, nodes: Vec::new() }.document()
    }

    /// Whether the text is an object.
    pub fn is_object(&self) -> bool {
        matches!(self.root(), Node::Object(_))
    }

    pub(crate) fn root(&self) -> &Node<'t> {
        self.node(self.root)
    }

    pub(crate) fn node(&self, number: u32) -> &Node<'t> {
        &self.nodes[number as usize]
    }

    /// The canonical JSON of the text, with its numbers as they stand: keys sorted, nothing escaped that need
    /// not be, and no spaces.
    pub fn canonical(&self) -> String {
        let mut out = String::new();
        let mut steps = vec![Step::Value(self.root)];
        while let Some(step) = steps.pop() {
            let number = match step {
                Step::Mark(mark) => {
                    out.push(mark);
                    continue;
                }
                Step::Key(key) => {
                    key.write(&mut out);
                    out.push(':');
                    continue;
                }
                Step::Value(number) => number,
            };
            match self.node(number) {
                Node::Literal(text) => out.push_str(text),
                Node::String(text) => text.write(&mut out),
                Node::Array(items) => {
                    out.push('[');
                    steps.push(Step::Mark(']'));
                    for (index, item) in items.iter().enumerate().rev() {
                        steps.push(Step::Value(*item));
                        if index > 0 {
                            steps.push(Step::Mark(','));
                        }
                    }
                }
                Node::Object(fields) => {
                    out.push('{');
                    steps.push(Step::Mark('}'));
                    for (index, (key, value)) in fields.iter().enumerate().rev() {
                        steps.push(Step::Value(*value));
                        steps.push(Step::Key(key));
                        if index > 0 {
                            steps.push(Step::Mark(','));
                        }
                    }
                }
            }
        }
        out
    }

    /// The value of the text, with `null` for what is nested deeper than `max_nesting`, or has no value in
    /// Rust.
    pub(crate) fn value(&self, max_nesting: usize) -> Value {
        self.value_of(self.root, max_nesting)
    }

    fn value_of(&self, number: u32, levels_left: usize) -> Value {
        match (self.node(number), levels_left.checked_sub(1)) {
            (Node::Literal(text), _) => serde_json::from_str(text).unwrap_or_default(),
            (Node::String(Text::Decoded(text)), _) => text.as_ref().into(),
            (Node::Array(items), Some(left)) => items.iter().map(|item| self.value_of(*item, left)).collect(),
            (Node::Object(fields), Some(left)) => {
                fields.iter().map(|(key, value)| (key.to_string(), self.value_of(*value, left))).collect()
            }
            (Node::String(Text::Raw(_)) | Node::Array(_) | Node::Object(_), _) => Value::Null,
        }
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node<'t>>,
}

/// An array or object that is being read.
enum Open<'t> {
    Array(Vec<u32>),
    Object(Vec<(Text<'t>, u32)>, Text<'t>),
}

impl<'t> Parser<'t> {
    fn document(mut self) -> Result<Document<'t>, JsonError> {
        let mut open: Vec<Open<'t>> = Vec::new();
        loop {
            // A value begins here.
            let mut ended = match self.next_byte() {
                Some(b'[') => {
                    self.at += 1;
                    if self.eats(b']') {
                        Node::Array(Vec::new())
                    } else {
                        open.push(Open::Array(Vec::new()));
                        continue;
                    }
                }
                Some(b'{') => {
                    self.at += 1;
                    if self.eats(b'}') {
                        Node::Object(Vec::new())
                    } else {
                        let key = self.key()?;
                        open.push(Open::Object(Vec::new(), key));
                        continue;
                    }
                }
                Some(b'"') => Node::String(self.string()?),
                _ => Node::Literal(self.literal()?),
            };
            // It ends here, and perhaps the values around it do.
            loop {
                let number = u32::try_from(self.nodes.len()).map_err(|_| self.error())?;
                self.nodes.push(ended);
                match open.pop() {
                    None => {
                        if self.next_byte().is_some() {
                            return Err(self.error());
                        }
                        return Ok(Document { nodes: self.nodes, root: number });
                    }
                    Some(Open::Array(mut items)) => {
                        items.push(number);
                        if self.eats(b',') {
                            open.push(Open::Array(items));
                            break;
                        }
                        self.expect(b']')?;
                        ended = Node::Array(items);
                    }
                    Some(Open::Object(mut fields, key)) => {
                        fields.push((key, number));
                        if self.eats(b',') {
                            let key = self.key()?;
                            open.push(Open::Object(fields, key));
                            break;
                        }
                        self.expect(b'}')?;
                        ended = Node::Object(sorted(fields));
                    }
                }
            }
        }
    }

    fn error(&self) -> JsonError {
        JsonError::NotJson(format!("at byte {}", self.at))
    }

    /// The next byte that is no space.
    fn next_byte(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let spaces = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.at += spaces;
        rest.get(spaces).copied()
    }

    fn eats(&mut self, byte: u8) -> bool {
        let is_next = self.next_byte() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.eats(byte) { Ok(()) } else { Err(self.error()) }
    }

    fn key(&mut self) -> Result<Text<'t>, JsonError> {
        if self.next_byte() != Some(b'"') {
            return Err(self.error());
        }
        let key = self.string()?;
        self.expect(b':')?;
        Ok(key)
    }

    /// A string, whose opening quotation mark comes next.
    fn string(&mut self) -> Result<Text<'t>, JsonError> {
        let (text, begin) = (self.text, self.at);
        let bytes = text.as_bytes();
        let mut has_escapes = false;
        self.at += 1;
        loop {
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += 1;
                    match bytes.get(self.at) {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u')
                            if bytes
                                .get(self.at + 1..self.at + 5)
                                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) =>
                        {
                            self.at += 5;
                        }
                        _ => return Err(self.error()),
                    }
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.error()),
            }
        }
        self.at += 1;
        let inner = &text[begin + 1..self.at - 1];
        if !has_escapes {
            return Ok(Text::Decoded(inner.into()));
        }
        let decoded = serde_json::from_str::<String>(&text[begin..self.at]);
        Ok(decoded.map_or(Text::Raw(inner), |decoded| Text::Decoded(decoded.into())))
    }

    /// A number, `true`, `false` or `null`.
    fn literal(&mut self) -> Result<&'t str, JsonError> {
        let rest = &self.text[self.at..];
        let is_end = |char: char| matches!(char, ',' | ']' | '}' | ' ' | '\t' | '\n' | '\r');
        let literal = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        if !matches!(literal, "true" | "false" | "null") && !is_number(literal) {
            return Err(self.error());
        }
        self.at += literal.len();
        Ok(literal)
    }
}

/// The fields of an object by their keys, the last of those with the same key.
fn sorted<'t>(mut fields: Vec<(Text<'t>, u32)>) -> Vec<(Text<'t>, u32)> {
    // The sort is stable, so the last of equal keys is the first in reverse order.
    fields.reverse();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.dedup_by(|(later, _), (earlier, _)| later == earlier);
    fields
}

/// Whether a text is a number in JSON.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let (integer, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(i, f)| (i, Some(f)));
    digits(integer)
        && (integer == "0" || !integer.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
