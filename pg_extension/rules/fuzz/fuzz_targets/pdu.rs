//! Intake of a PDU: from bytes to a verified event. The first byte chooses the room version.

#![no_main]

use libfuzzer_sys::fuzz_target;
use matriarch_rules::{
    Event, KeyPair, RoomVersion, canonical_json,
    event::check_pdu_format,
    hash, json, redaction,
    room_version::ALL,
    signature::{self, Verified},
};

fuzz_target!(|bytes: &[u8]| {
    let Some((version, bytes)) = bytes.split_first() else { return };
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let version = &ALL[usize::from(*version) % ALL.len()];
    if let Ok(pdu) = json::parse_object(text) {
        take_in(version, pdu);
    }
    if let Ok(pdu) = json::parse_pdu(text) {
        // With its numbers as they stand, it means the same after it was stored.
        let canonical = pdu.to_canonical();
        assert_eq!(json::Document::parse(text).map(|document| document.canonical()), Ok(canonical.clone()));
        assert_eq!(json::parse_pdu(&canonical).map(|pdu| pdu.to_canonical()), Ok(canonical));
        let redacted = redaction::redact_exactly(version, pdu.clone());
        assert_eq!(hash::reference_hash(version, &redacted), hash::reference_hash(version, &pdu));
    }
});

fn take_in(version: &RoomVersion, pdu: matriarch_rules::Map) {
    let Ok(key) = KeyPair::from_seed("ed25519:fuzz", &[7; 32]) else { return };
    let format = check_pdu_format(version, &pdu);
    let canonical = canonical_json::object_to_canonical_lenient(&pdu);
    if let Ok(measured) = &format {
        assert_eq!(measured, &canonical);
    }
    let again = json::parse_object(&canonical);
    assert_eq!(again.as_ref().map(canonical_json::object_to_canonical_lenient), Ok(canonical));

    let redacted = redaction::redact(version, pdu.clone());
    assert_eq!(redaction::redact(version, redacted.clone()), redacted, "redacting twice");
    assert_eq!(hash::reference_hash(version, &redacted), hash::reference_hash(version, &pdu));
    assert_eq!(hash::event_id(version, &redacted), hash::event_id(version, &pdu));

    let verified = signature::verify_event(version, &pdu, |_, _| Some(key.public_key()));
    _ = signature::signing_servers(version, &pdu);
    let Ok(event) = Event::from_pdu(version, pdu.clone()) else {
        // In room versions 1 and 2 the event contains its id.
        assert!(format.is_err() || hash::event_id(version, &pdu).is_none());
        return;
    };
    assert!(format.is_ok());
    assert_eq!(Some(event.event_id().to_owned()), hash::event_id(version, event.json()));
    let cited = event.prev_events().count() + event.auth_events().count();
    assert!(cited <= 30 && event.depth() >= 0 && event.sender().contains(':'));
    if verified.is_ok() {
        return;
    }

    // The event is accepted once its servers have hashed and signed it.
    let mut signed = pdu;
    let servers: Vec<String> =
        signature::signing_servers(version, &signed).into_iter().map(str::to_owned).collect();
    for server in &servers {
        // Signatures with other keys cannot be right for this key.
        signed.insert("signatures".to_owned(), serde_json::json!({}));
        if signature::hash_and_sign_event(version, &mut signed, server, &key).is_err() {
            return;
        }
    }
    for server in &servers {
        signature::sign_event(version, &mut signed, server, &key);
    }
    if !servers.is_empty() {
        let verified = signature::verify_event(version, &signed, |_, _| Some(key.public_key()));
        assert_eq!(verified, Ok(Verified { content_hash: true, join_authorized: true }));
    }
}
