//! Parses answers with the state of a room (of `send_join` and `state`) while they arrive. Server-Server API,
//! "Joining Rooms" and "Retrieving events". They can be hundreds of megabytes long, so each event is passed
//! on at once.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::rc::Rc;

use axum::body::Bytes;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// The longest value in bytes: longer than any event, including what servers add to it.
const MAX_VALUE: usize = 1024 * 1024;
/// The most entries of `servers_in_room` that are read.
const MAX_SERVERS: usize = 10_000;
const BUFFER: usize = 64 * 1024;

/// The part of the answer that an event is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    State,
    AuthChain,
}

/// The rest of an answer. Absent or malformed fields are empty.
#[derive(Debug, Default, PartialEq)]
pub struct Rest {
    /// The join event, as JSON text, as the resident server accepted it: in restricted rooms with that
    /// server's signature.
    pub event: Option<String>,
    /// Whether members are missing in the state.
    pub members_omitted: bool,
    pub servers_in_room: Vec<String>,
}

/// Parses an answer, and passes its events to `take` as JSON texts. Blocks while it waits for `chunks`.
///
/// # Errors
///
/// A sentence that says what is wrong with the answer, or the error of `take`, which ends the reading.
pub fn read(
    chunks: mpsc::Receiver<Bytes>,
    take: impl FnMut(Part, String) -> Result<(), String>,
) -> Result<Rest, String> {
    let allowance = Rc::new(Cell::new(MAX_VALUE));
    let chunks = Chunks { receiver: chunks, chunk: Bytes::new(), allowance: Rc::clone(&allowance) };
    let mut deserializer = serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, chunks));
    let mut rest = Rest::default();
    let answer = Answer { rest: &mut rest, take, allowance: &allowance };
    answer.deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(rest)
}

/// Received chunks as a reader, which fails if a single value is too long.
struct Chunks {
    receiver: mpsc::Receiver<Bytes>,
    chunk: Bytes,
    /// Bytes that may be read before it is renewed.
    allowance: Rc<Cell<usize>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.chunk.len());
        let left = self.allowance.get().checked_sub(length);
        self.allowance.set(left.ok_or_else(|| io::Error::other("a value is too long"))?);
        buffer[..length].copy_from_slice(&self.chunk.split_to(length));
        Ok(length)
    }
}

/// The whole answer.
struct Answer<'a, F> {
    rest: &'a mut Rest,
    take: F,
    allowance: &'a Cell<usize>,
}

impl<'de, F: FnMut(Part, String) -> Result<(), String>> DeserializeSeed<'de> for Answer<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Part, String) -> Result<(), String>> Visitor<'de> for Answer<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.allowance.set(MAX_VALUE);
            let part = match key.as_str() {
                "state" | "pdus" => Part::State,
                "auth_chain" => Part::AuthChain,
                "event" => {
                    let text: Box<str> = map.next_value::<Box<RawValue>>()?.into();
                    self.rest.event = Some(text.into());
                    continue;
                }
                "members_omitted" => {
                    self.rest.members_omitted = map.next_value::<Box<RawValue>>()?.get() == "true";
                    continue;
                }
                "servers_in_room" => {
                    let servers = &mut self.rest.servers_in_room;
                    let take = |text: String| {
                        if let (true, Ok(server)) = (servers.len() < MAX_SERVERS, serde_json::from_str(&text))
                        {
                            servers.push(server);
                        }
                        Ok(())
                    };
                    map.next_value_seed(Values { take, allowance: self.allowance })?;
                    continue;
                }
                _ => {
                    // Nothing of it is kept, so its length is not limited.
                    self.allowance.set(usize::MAX);
                    map.next_value::<IgnoredAny>()?;
                    self.allowance.set(MAX_VALUE);
                    continue;
                }
            };
            let take = |text| (self.take)(part, text);
            map.next_value_seed(Values { take, allowance: self.allowance })?;
        }
        Ok(())
    }
}

/// An array whose values are passed on one by one.
struct Values<'a, F> {
    take: F,
    allowance: &'a Cell<usize>,
}

impl<'de, F: FnMut(String) -> Result<(), String>> DeserializeSeed<'de> for Values<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(String) -> Result<(), String>> Visitor<'de> for Values<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut values: A) -> Result<(), A::Error> {
        while let Some(value) = values.next_element::<Box<RawValue>>()? {
            self.allowance.set(MAX_VALUE);
            let text: Box<str> = value.into();
            (self.take)(text.into()).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
