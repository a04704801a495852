//! Content hashes, reference hashes, and the event ids that are made of reference hashes.
//!
//! Spec: [Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    RoomVersion, base64, canonical_json::fields_to_canonical_lenient, json::ExactRef,
    redaction::redacted_fields, room_version::EventIdFormat,
};

/// The content hash: SHA-256 over the whole event without `unsigned`, `signatures` and `hashes`, in
/// unpadded base64.
pub fn content_hash<'a>(event: impl Into<ExactRef<'a>>) -> String {
    base64::encode(content_hash_bytes(event.into()))
}

/// Whether `hashes.sha256` of the event is its content hash. If not, the event must be redacted before use.
pub fn content_hash_matches<'a>(event: impl Into<ExactRef<'a>>) -> bool {
    let event = event.into();
    event
        .object
        .get("hashes")
        .and_then(|hashes| hashes.get("sha256"))
        .and_then(Value::as_str)
        .and_then(|hash| base64::decode(hash).ok())
        .is_some_and(|hash| hash == content_hash_bytes(event))
}

fn content_hash_bytes(event: ExactRef<'_>) -> [u8; 32] {
    let hashed = event
        .object
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .filter(|(key, _)| !matches!(*key, "unsigned" | "signatures" | "hashes"));
    Sha256::digest(fields_to_canonical_lenient(hashed, event.numbers)).into()
}

/// The reference hash: SHA-256 over the redacted event without `signatures` and `unsigned`.
pub fn reference_hash<'a>(version: &RoomVersion, event: impl Into<ExactRef<'a>>) -> [u8; 32] {
    Sha256::digest(signed_json(version, event.into())).into()
}

/// The event's id: the field `event_id` in room versions 1 and 2 (`None` if it is missing or not a string),
/// `$` and the reference hash in later ones.
pub fn event_id<'a>(version: &RoomVersion, event: impl Into<ExactRef<'a>>) -> Option<String> {
    let event = event.into();
    match version.event_id_format {
        EventIdFormat::InEvent => Some(event.object.get("event_id")?.as_str()?.to_owned()),
        EventIdFormat::ReferenceHash => Some(format!("${}", base64::encode(reference_hash(version, event)))),
        EventIdFormat::UrlSafeReferenceHash => {
            Some(format!("${}", base64::encode_url_safe(reference_hash(version, event))))
        }
    }
}

/// The text that signatures and the reference hash cover: the canonical JSON of the redacted event without
/// `signatures` and `unsigned` (which redaction removes).
pub(crate) fn signed_json(version: &RoomVersion, event: ExactRef<'_>) -> String {
    let fields: Vec<_> =
        redacted_fields(version, event.object).filter(|(key, _)| *key != "signatures").collect();
    fields_to_canonical_lenient(fields.iter().map(|(key, value)| (*key, value.as_ref())), event.numbers)
}

#[cfg(test)]
mod tests;
