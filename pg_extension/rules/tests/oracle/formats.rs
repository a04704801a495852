//! Canonical JSON, hashes, redaction and signatures, compared with `ruma-common` and `ruma-signatures`.

use std::collections::BTreeMap;

use matriarch_rules::{
    EventBuilder, KeyPair, Map, RoomVersion, canonical_json,
    event::check_pdu_format,
    hash, json, redaction,
    signature::{self, PublicKey},
};
use proptest::{prelude::*, sample::select};
use ruma_common::{
    CanonicalJsonObject, CanonicalJsonValue, RoomVersionId,
    canonical_json::{redact, try_from_json_map},
    room_version_rules::{EventIdFormatVersion, RoomVersionRules},
    serde::Base64,
};
use ruma_signatures::Ed25519KeyPair;
use serde_json::{Value, json};

use super::random;

const SEED: [u8; 32] = [42; 32];

fn ruma_rules(version: &RoomVersion) -> RoomVersionRules {
    RoomVersionId::try_from(version.id).unwrap().rules().unwrap()
}

fn ruma_object(object: &Map) -> CanonicalJsonObject {
    try_from_json_map(object.clone()).unwrap()
}

fn from_ruma(object: &CanonicalJsonObject) -> Value {
    serde_json::to_value(object).unwrap()
}

fn key() -> KeyPair {
    KeyPair::from_seed("ed25519:a_1", &SEED).unwrap()
}

/// The same key pair for ruma, which reads only DER.
fn ruma_key() -> Ed25519KeyPair {
    let mut der =
        vec![0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    der.extend(SEED);
    Ed25519KeyPair::from_der(&der, "a_1".to_owned()).unwrap()
}

/// The fields whose format both check in the same way. We also check the form of `sender`, `room_id` and
/// references, and that `content`, `hashes` and `signatures` are objects; ruma has 65,535 bytes as the
/// greatest size, where the specification has 65,536.
const FORMAT_FIELDS: [&str; 4] = ["type", "state_key", "depth", "unknown"];

fn format_value() -> impl Strategy<Value = Value> {
    let long = (250usize..260, select(vec!["x", "é"]))
        .prop_map(|(bytes, filling)| Value::from(filling.repeat(bytes / filling.len())));
    let body = select(vec![65_000usize, 66_000]).prop_map(|bytes| Value::from("x".repeat(bytes)));
    prop_oneof![4 => random::canonical_value(), 4 => long, 1 => body]
}

fn well_formed(version: &RoomVersion) -> Map {
    let builder = EventBuilder {
        room_id: Some("!r:a".to_owned()),
        sender: "@u:a".to_owned(),
        event_type: "m.room.message".to_owned(),
        event_id: Some("$e:a".to_owned()),
        ..EventBuilder::default()
    };
    builder.build(version, &key()).unwrap().event.into_json()
}

proptest! {
    #![proptest_config(random::cases(1000))]

    #[test]
    fn canonical_json(value in random::canonical_value()) {
        let ours = canonical_json::to_canonical(&value).unwrap();
        let theirs = CanonicalJsonValue::try_from(value.clone()).unwrap().to_string();
        prop_assert_eq!(&ours, &theirs);
        prop_assert_eq!(json::parse_value(&ours).unwrap(), value.clone());
        prop_assert_eq!(canonical_json::to_canonical_lenient(&value), theirs);
    }

    #[test]
    fn what_canonical_json_cannot_say(value in random::any_value()) {
        let ours = canonical_json::to_canonical(&value);
        let theirs = CanonicalJsonValue::try_from(value);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn redaction_of_events(version in random::version(), event in random::event()) {
        let ours = redaction::redact(version, event.clone());
        let theirs = redact(ruma_object(&event), &ruma_rules(version).redaction, None).unwrap();
        prop_assert_eq!(Value::Object(ours), from_ruma(&theirs));
    }

    #[test]
    fn hashes_of_events(version in random::version(), event in random::event()) {
        let object = ruma_object(&event);
        prop_assert_eq!(
            hash::content_hash(&event),
            ruma_signatures::content_hash(&object).unwrap().encode()
        );
        let rules = ruma_rules(version);
        if rules.event_id_format != EventIdFormatVersion::V1 {
            let theirs = ruma_signatures::reference_hash(&object, &rules).unwrap();
            prop_assert_eq!(hash::event_id(version, &event).unwrap(), format!("${theirs}"));
        }
    }

    #[test]
    fn signatures_of_json(object in random::canonical_object()) {
        let mut object = object;
        object.remove("signatures");
        let mut theirs = ruma_object(&object);
        signature::sign_json(&mut object, "domain", &key()).unwrap();
        ruma_signatures::sign_json("domain", &ruma_key(), &mut theirs).unwrap();
        prop_assert_eq!(Value::Object(object), from_ruma(&theirs));
    }

    #[test]
    fn hashes_and_signatures_of_own_events(version in random::version(), event in random::event()) {
        let mut event = event;
        event.remove("signatures");
        let mut theirs = ruma_object(&event);
        signature::hash_and_sign_event(version, &mut event, "domain", &key()).unwrap();
        // ruma keeps other hashes; we replace them.
        theirs.remove("hashes");
        let rules = ruma_rules(version);
        ruma_signatures::hash_and_sign_event("domain", &ruma_key(), &mut theirs, &rules.redaction).unwrap();
        prop_assert_eq!(Value::Object(event), from_ruma(&theirs));
    }

    #[test]
    fn verification_of_events(
        version in random::version(),
        event in random::event(),
        event_id in select(vec!["$1:domain", "$1:other"]),
        signers in prop::sample::subsequence(vec!["domain", "other", "third"], 0..=3),
        known in prop::sample::subsequence(vec!["domain", "other", "third"], 0..=3),
        membership in select(vec!["join", "invite"]),
        authorizer in prop::option::of(select(vec!["@u:third", "@u:domain"])),
        tampering in 0..6,
    ) {
        let mut event = event;
        event.remove("signatures");
        event.insert("event_id".to_owned(), event_id.into());
        event.insert("sender".to_owned(), "@a:domain".into());
        if let Some(content) = event.get_mut("content").and_then(Value::as_object_mut) {
            content.remove("join_authorised_via_users_server");
            // ruma requires the authorizer's signature for any type of event, the rules only for member
            // events.
        }
        if event["type"] == "m.room.member" {
            event["content"]["membership"] = membership.into();
            if let Some(authorizer) = authorizer {
                event["content"]["join_authorised_via_users_server"] = authorizer.into();
            }
        }
        let mut signed = event.clone();
        signature::hash_and_sign_event(version, &mut signed, "nobody", &key()).unwrap();
        for server in &signers {
            signature::sign_event(version, &mut signed, server, &key());
        }
        match tampering {
            0 => { signed.insert("origin_server_ts".to_owned(), 77.into()); }
            1 => { signed["content"]["body"] = "other".into(); }
            2 => { signed["signatures"]["domain"]["ed25519:unknown"] = "x".into(); }
            3 => { signed["signatures"]["domain"] = json!({"rsa:1": "x"}); }
            4 => { signed["signatures"]["domain"]["ed25519:a_1"] = "AAAA".into(); }
            _ => {}
        }

        let ours = signature::verify_event(version, &signed, |server, key_id| {
            (known.contains(&server) && key_id == "ed25519:a_1").then(|| key().public_key())
        });
        let public_key = Base64::parse(key().public_key_base64()).unwrap();
        let public_keys: BTreeMap<_, _> = known
            .iter()
            .map(|server| {
                let keys = BTreeMap::from([("ed25519:a_1".to_owned(), public_key.clone())]);
                ((*server).to_owned(), keys)
            })
            .collect();
        let theirs = ruma_signatures::verify_event(&public_keys, &ruma_object(&signed), &ruma_rules(version));
        // For ruma the authorizer's signature is one of the signatures that every event needs; here the
        // authorization rules reject the event without it.
        let ours = match ours {
            Ok(verified) if !verified.join_authorized => None,
            Ok(verified) => Some(verified.content_hash),
            Err(_) => None,
        };
        let all = ruma_signatures::Verified::All;
        prop_assert_eq!(ours, theirs.as_ref().ok().map(|verified| *verified == all), "{:?}", theirs);
    }

    #[test]
    fn event_format(
        version in random::version(),
        field in select(&FORMAT_FIELDS[..]),
        value in format_value(),
    ) {
        let mut event = well_formed(version);
        event.insert(field.to_owned(), value);
        let ours = check_pdu_format(version, &event);
        let rules = ruma_rules(version).event_format;
        let theirs = ruma_state_res::check_pdu_format(&ruma_object(&event), &rules);
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
    }

    #[test]
    fn public_keys_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 30..34)) {
        let text = matriarch_rules::base64::encode(&bytes);
        let key = PublicKey::from_base64(&text);
        let theirs = <[u8; 32]>::try_from(bytes)
            .is_ok_and(|bytes| ed25519_dalek::VerifyingKey::from_bytes(&bytes).is_ok());
        prop_assert_eq!(key.is_ok(), theirs);
    }
}
