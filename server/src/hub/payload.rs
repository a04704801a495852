//! The text of a `NOTIFY`: `<node> r<room_nid> u<user_nid> …`.

#[cfg(test)]
mod tests;

use super::topic::Topic;

/// `NOTIFY` takes payloads of less than 8,000 bytes.
const MAX_BYTES: usize = 7_900;

/// Writes `topics` into as many payloads as necessary.
pub fn encode(node: &str, topics: impl IntoIterator<Item = Topic>) -> Vec<String> {
    let mut payloads = Vec::new();
    let mut payload = node.to_owned();
    for topic in topics {
        let word = match topic {
            Topic::Room(nid) => format!(" r{nid}"),
            Topic::User(nid) => format!(" u{nid}"),
        };
        if payload.len() + word.len() > MAX_BYTES {
            payloads.push(std::mem::replace(&mut payload, node.to_owned()));
        }
        payload.push_str(&word);
    }
    if payload.len() > node.len() {
        payloads.push(payload);
    }
    payloads
}

/// Reads a payload: the node that wrote it, and its topics. Skips words of another form, which a newer
/// version may send.
pub fn decode(payload: &str) -> (&str, Vec<Topic>) {
    let (node, words) = payload.split_once(' ').unwrap_or((payload, ""));
    let topics = words.split(' ').filter_map(|word| {
        let (kind, nid) = (word.get(..1)?, word.get(1..)?.parse().ok()?);
        match kind {
            "r" => Some(Topic::Room(nid)),
            "u" => Some(Topic::User(nid)),
            _ => None,
        }
    });
    (node, topics.collect())
}
