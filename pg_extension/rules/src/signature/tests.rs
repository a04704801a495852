#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::{Value, json};

use super::{
    KeyError, KeyPair, PublicKey, SignatureError, Verified, event_is_signed_with, hash_and_sign_event,
    sign_event, sign_json, signing_servers, verify_event, verify_json,
};
use crate::{Map, RoomVersion, redaction::redact, room_version::ALL};

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed("ed25519:a", &[seed; 32]).unwrap()
}

fn object(value: Value) -> Map {
    value.as_object().unwrap().clone()
}

/// A signed message of `@u:one` with the id `$e:two`.
fn message(version: &RoomVersion) -> Map {
    let mut event = object(json!({
        "type": "m.room.message", "event_id": "$e:two", "sender": "@u:one", "content": { "body": "x" },
    }));
    hash_and_sign_event(version, &mut event, "one", &key(1)).unwrap();
    sign_event(version, &mut event, "two", &key(2));
    event
}

/// Knows the keys of the servers `one`, `two` and `three`.
fn known(server: &str, key_id: &str) -> Option<PublicKey> {
    let seed = match (server, key_id) {
        ("one", "ed25519:a") => 1,
        ("two", "ed25519:a") => 2,
        ("three", "ed25519:a") => 3,
        _ => return None,
    };
    Some(key(seed).public_key())
}

const GOOD: Result<Verified, SignatureError> = Ok(Verified { content_hash: true, join_authorized: true });

#[test]
fn keys_that_are_none() {
    for key_id in ["", "a", "ed25519", "ed25519:", "ed25519:a b", "ed25519:a-b", "rsa:1"] {
        assert_eq!(KeyPair::from_seed(key_id, &[0; 32]).err(), Some(KeyError::BadKeyId));
    }
    assert_eq!(KeyPair::from_base64_seed("ed25519:a", "?").err(), Some(KeyError::NotBase64));
    assert_eq!(KeyPair::from_base64_seed("ed25519:a", "AAAA").err(), Some(KeyError::WrongLength));
    assert_eq!(PublicKey::from_base64("AAAA"), Err(KeyError::WrongLength));
    let not_a_point = crate::base64::encode([2; 32]);
    assert_eq!(PublicKey::from_base64(&not_a_point), Err(KeyError::NotAKey));
}

#[test]
fn the_secret_is_not_shown() {
    assert_eq!(format!("{:?}", key(7)), "KeyPair(ed25519:a)");
}

#[test]
fn signing_keeps_other_signatures_and_unsigned() {
    let mut json = object(json!({ "a": 1, "unsigned": { "x": 1 } }));
    sign_json(&mut json, "one", &key(1)).unwrap();
    let other = KeyPair::from_seed("ed25519:b", &[4; 32]).unwrap();
    sign_json(&mut json, "one", &other).unwrap();
    sign_json(&mut json, "two", &key(2)).unwrap();
    assert_eq!(json["signatures"]["one"].as_object().unwrap().len(), 2);
    assert_eq!(json["unsigned"], json!({ "x": 1 }));
    json.insert("unsigned".to_owned(), json!({ "x": 2 }));
    for server in ["one", "two"] {
        assert_eq!(verify_json(&json, server, |key_id| known(server, key_id)), Ok(()));
    }
}

#[test]
fn signatures_of_json_that_do_not_suffice() {
    let mut json = object(json!({ "a": 1 }));
    sign_json(&mut json, "one", &key(1)).unwrap();
    let verify = |json: &Map| verify_json(json, "one", |key_id| known("one", key_id)).unwrap_err();

    assert!(matches!(verify(&Map::new()), SignatureError::NotSigned { .. }));
    let mut changed = json.clone();
    changed.insert("a".to_owned(), 2.into());
    assert!(matches!(verify(&changed), SignatureError::Wrong { .. }));
    let mut unknown = json.clone();
    unknown["signatures"]["one"] = json!({ "ed25519:x": json["signatures"]["one"]["ed25519:a"] });
    assert!(matches!(verify(&unknown), SignatureError::NoKnownKey { .. }));
    let mut algorithm = json.clone();
    algorithm["signatures"]["one"] = json!({ "rsa:a": "x" });
    assert!(matches!(verify(&algorithm), SignatureError::NotSigned { .. }));
    for signature in [json!(1), json!("?"), json!("AAAA"), json!("")] {
        let mut malformed = json.clone();
        malformed["signatures"]["one"]["ed25519:a"] = signature;
        assert!(matches!(verify(&malformed), SignatureError::Wrong { .. }));
    }
    for signatures in [json!(1), json!([]), json!({ "one": 1 }), json!({ "one": {} })] {
        let mut malformed = json.clone();
        malformed.insert("signatures".to_owned(), signatures);
        assert!(matches!(verify(&malformed), SignatureError::NotSigned { .. }));
    }
    let mut float = json.clone();
    float.insert("a".to_owned(), json!(1.5));
    assert!(matches!(verify(&float), SignatureError::NotCanonical(_)));
    sign_json(&mut float, "one", &key(1)).unwrap_err();
}

#[test]
fn events_are_signed_as_redacted() {
    for version in &ALL {
        let event = message(version);
        assert_eq!(verify_event(version, &event, known), GOOD);
        let redacted = redact(version, event.clone());
        let only_signed = Ok(Verified { content_hash: false, join_authorized: true });
        assert_eq!(verify_event(version, &redacted, known), only_signed);
        let mut changed = event.clone();
        changed["content"]["body"] = "y".into();
        assert_eq!(verify_event(version, &changed, known), only_signed);
        let mut forged = event.clone();
        forged.insert("sender".to_owned(), "@v:one".into());
        verify_event(version, &forged, known).unwrap_err();
    }
}

#[test]
fn the_server_of_the_event_id_signs_until_version_2() {
    for version in &ALL {
        let mut event = message(version);
        let original = event.clone();
        let servers = signing_servers(version, &original);
        event["signatures"].as_object_mut().unwrap().remove("two");
        let result = verify_event(version, &event, known);
        if version.event_id_in_event() {
            assert_eq!(servers, ["one", "two"]);
            assert!(matches!(result, Err(SignatureError::NotSigned { server }) if server == "two"));
        } else {
            assert_eq!(servers, ["one"]);
            assert_eq!(result, GOOD);
        }
    }
}

#[test]
fn unknown_keys_are_passed_over() {
    for version in &ALL {
        let mut event = message(version);
        event["signatures"]["one"]["ed25519:policy_server"] = "x".into();
        event["signatures"]["four"] = json!({ "ed25519:a": "x" });
        assert_eq!(verify_event(version, &event, known), GOOD);
        // Every signature with a known key must be right.
        let all_known = |server: &str, _: &str| known(server, "ed25519:a");
        verify_event(version, &event, all_known).unwrap_err();
        verify_event(version, &event, |_, _| None).unwrap_err();
    }
}

#[test]
fn a_policy_servers_signature_is_checked_alone() {
    let policy_key = KeyPair::from_seed("ed25519:policy_server", &[9; 32]).unwrap();
    for version in &ALL {
        let mut event = message(version);
        let signed = |event: &Map, server, key: &KeyPair| {
            event_is_signed_with(version, event, server, "ed25519:policy_server", &key.public_key())
        };
        assert!(!signed(&event, "two", &policy_key));
        sign_event(version, &mut event, "two", &policy_key);
        assert!(signed(&event, "two", &policy_key));
        assert!(!signed(&event, "one", &policy_key));
        assert!(!signed(&event, "two", &key(2)));
        // The signature covers what redaction keeps.
        event["content"]["body"] = "y".into();
        assert!(signed(&event, "two", &policy_key));
        event.insert("sender".to_owned(), "@v:one".into());
        assert!(!signed(&event, "two", &policy_key));
    }
}

#[test]
fn third_party_invites_need_no_signature_of_the_sender() {
    let content = json!({ "membership": "invite", "third_party_invite": { "signed": {} } });
    for version in &ALL {
        let mut event = object(json!({
            "type": "m.room.member", "event_id": "$e:two", "sender": "@u:one", "content": content,
        }));
        hash_and_sign_event(version, &mut event, "two", &key(2)).unwrap();
        assert_eq!(verify_event(version, &event, known), GOOD);
        event["content"]["membership"] = "join".into();
        verify_event(version, &event, known).unwrap_err();
    }
}

#[test]
fn the_authorizers_server_signs_since_version_8() {
    for version in &ALL {
        let mut event = object(json!({
            "type": "m.room.member", "event_id": "$e:one", "sender": "@u:one",
            "content": { "membership": "join", "join_authorised_via_users_server": "@x:three" },
        }));
        hash_and_sign_event(version, &mut event, "one", &key(1)).unwrap();
        let unsigned = verify_event(version, &event, known).unwrap();
        assert_eq!(unsigned.join_authorized, !version.restricted_joins);
        sign_event(version, &mut event, "three", &key(3));
        assert_eq!(verify_event(version, &event, known), GOOD);
        if version.restricted_joins {
            assert_eq!(signing_servers(version, &event), ["one", "three"]);
        }
        for authorizer in [json!(1), json!(null), json!("x"), json!("@x:")] {
            event["content"]["join_authorised_via_users_server"] = authorizer;
            hash_and_sign_event(version, &mut event, "one", &key(1)).unwrap();
            let verified = verify_event(version, &event, known).unwrap();
            assert_eq!(verified.join_authorized, !version.restricted_joins);
        }
    }
}

#[test]
fn events_that_name_no_server_are_refused() {
    for version in &ALL {
        for sender in [json!("@u"), json!(1)] {
            let mut event = message(version);
            event.insert("sender".to_owned(), sender);
            assert_eq!(verify_event(version, &event, known), Err(SignatureError::NoServer));
            assert!(signing_servers(version, &event).is_empty());
        }
    }
}

#[test]
fn events_with_floats_are_signed_until_version_5() {
    for version in &ALL {
        let mut event = message(version);
        event["content"]["float"] = json!(1.5);
        let result = hash_and_sign_event(version, &mut event, "one", &key(1));
        assert_eq!(result.is_ok(), !version.strict_canonical_json);
        if result.is_ok() {
            sign_event(version, &mut event, "two", &key(2));
            assert_eq!(verify_event(version, &event, known), GOOD);
        }
    }
}
