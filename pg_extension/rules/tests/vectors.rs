//! Every test vector of the Matrix specification for something that this crate does.

#![allow(clippy::unwrap_used, reason = "tests")]

use matriarch_rules::{
    Event, KeyPair, Map, RoomVersion, base64, canonical_json, glob, hash,
    identifiers::{
        is_common_namespaced_identifier, is_opaque_identifier, is_room_alias, is_server_name, is_user_id,
        localpart::{self, Case, is_localpart},
    },
    json, key_representation, power_levels, property_path,
    room_version::room_version,
    signature::{self, PublicKey, Verified},
    space,
    third_party_id::canonical_email,
};
use ruma_common::{EventId, MatrixToUri, MatrixUri, OwnedServerName, RoomAliasId, RoomId, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};

fn vectors() -> Vec<Value> {
    let file: Value = serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap();
    file["vectors"].as_array().unwrap().clone()
}

/// The vectors of a kind. There must be at least one.
fn of_kind(kind: &str) -> Vec<Value> {
    let found: Vec<_> = vectors().into_iter().filter(|vector| vector["kind"] == kind).collect();
    assert!(!found.is_empty(), "no vector of kind {kind}");
    found
}

fn by_id(id: &str) -> Value {
    vectors().into_iter().find(|vector| vector["id"] == id).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn object(value: &Value) -> Map {
    value.as_object().unwrap().clone()
}

fn key_of(vector: &Value) -> KeyPair {
    KeyPair::from_base64_seed(text(&vector["key_id"]), text(&vector["seed_base64"])).unwrap()
}

fn version_of(vector: &Value) -> &'static RoomVersion {
    room_version(text(&vector["room_version"])).unwrap()
}

#[test]
fn unpadded_base64() {
    for vector in of_kind("unpadded_base64") {
        let (input, expected) = (text(&vector["input"]), text(&vector["expected"]));
        assert_eq!(base64::encode(input), expected);
        assert_eq!(base64::decode(expected).unwrap(), input.as_bytes());
        let padded = format!("{expected}{}", "=".repeat((4 - expected.len() % 4) % 4));
        assert_eq!(base64::decode(&padded).unwrap(), input.as_bytes());
    }
}

#[test]
fn canonical_json_examples() {
    for vector in of_kind("canonical_json") {
        let input = json::parse_value(text(&vector["input_text"])).unwrap();
        let expected = text(&vector["expected_text"]);
        let hex: String = expected.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, text(&vector["expected_utf8_hex"]));
        let lenient = canonical_json::to_canonical_lenient(&input);
        if vector["id"] == "canonical-json-10" {
            // The vector writes `-0` and `1e10` as integers. Strict encoding refuses them, and the lenient
            // one writes them as servers in Python do, whose hashes and signatures old rooms have.
            assert_eq!(lenient, r#"{"a":-0.0,"b":10000000000.0}"#);
            canonical_json::to_canonical(&input).unwrap_err();
        } else {
            assert_eq!(lenient, expected);
            assert_eq!(canonical_json::to_canonical(&input).unwrap(), expected);
        }
    }
}

#[test]
fn signed_json_has_the_shape_of_the_example() {
    let vector = by_id("signed-json-example");
    let example = json::parse_object(text(&vector["example_text"])).unwrap();
    let mut object = example.clone();
    object.remove("signatures");
    let key = KeyPair::from_seed("ed25519:1", &[7; 32]).unwrap();
    signature::sign_json(&mut object, "example.org", &key).unwrap();
    assert_eq!(object["unsigned"], example["unsigned"]);
    let signature = text(&object["signatures"]["example.org"]["ed25519:1"]);
    assert_eq!(signature.len(), text(&example["signatures"]["example.org"]["ed25519:1"]).len());
}

#[test]
fn signing_key_from_seed_with_trailing_bits() {
    let vector = by_id("signing-key");
    let key = key_of(&vector);
    let seed: String = base64::decode(text(&vector["seed_base64"]))
        .unwrap()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(seed, text(&vector["seed_hex"]));
    assert_eq!(key.public_key_base64(), text(&vector["public_key_base64"]));
    assert_eq!(key.public_key(), PublicKey::from_base64(&key.public_key_base64()).unwrap());
}

#[test]
fn json_signing() {
    for vector in of_kind("sign_json") {
        let key = key_of(&vector);
        let server = text(&vector["server_name"]);
        let mut signed = object(&vector["input"]);
        signature::sign_json(&mut signed, server, &key).unwrap();
        assert_eq!(Value::Object(signed.clone()), vector["expected"]);
        signature::verify_json(&signed, server, |_| Some(key.public_key())).unwrap();
    }
}

#[test]
fn event_signing() {
    for vector in of_kind("hash_and_sign_event") {
        let key = key_of(&vector);
        let version = version_of(&vector);
        let server = text(&vector["server_name"]);
        let mut event = object(&vector["input"]);
        let content_hash = base64::decode(&hash::content_hash(&event)).unwrap();
        let hex: String = content_hash.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, text(&vector["content_hash_sha256_hex"]));

        signature::hash_and_sign_event(version, &mut event, server, &key).unwrap();
        assert_eq!(Value::Object(event.clone()), vector["expected"]);

        if event.contains_key("event_id") {
            let verified = signature::verify_event(version, &event, |_, _| Some(key.public_key()));
            assert_eq!(verified, Ok(Verified { content_hash: true, join_authorized: true }));
        }
        // Redaction in room version 11 drops `origin`, which is signed here.
        let v11 = room_version("11").unwrap();
        signature::verify_event(v11, &event, |_, _| Some(key.public_key())).unwrap_err();
    }
}

#[test]
fn server_names() {
    for name in by_id("server-name-valid")["valid"].as_array().unwrap() {
        assert!(is_server_name(text(name)), "{name}");
    }
}

#[test]
fn user_ids_are_limited_in_bytes() {
    let vector = by_id("user-id");
    let max = usize::try_from(vector["max_bytes"].as_u64().unwrap()).unwrap();
    let of_bytes = |bytes: usize| format!("@{}é:a", "a".repeat(bytes - 5));
    assert!(is_user_id(&of_bytes(max)));
    assert!(!is_user_id(&of_bytes(max + 1)));
    // "any localpart of legal code points but surrogates, ':' and NUL, even empty"
    assert!(is_user_id("@:example.org"));
    assert!(is_user_id("@Ä ö:example.org"));
    assert!(!is_user_id("@a\0:example.org"));
}

#[test]
fn event_ids_have_the_form_of_the_examples() {
    let event = object(&by_id("event-signing-1")["expected"]);
    for (example, version, other_alphabet) in
        [("event-id-v3", "3", ['-', '_']), ("event-id-v4", "4", ['+', '/'])]
    {
        let example = by_id(example);
        let event_id = hash::event_id(room_version(version).unwrap(), &event).unwrap();
        // The example of version 4 is one character too long for SHA-256: a hash has 43.
        assert_eq!(event_id.len(), 44);
        assert!(event_id.starts_with('$') && text(&example["example"]).starts_with('$'));
        assert!(!event_id.contains(other_alphabet));
        assert!(!text(&example["example"]).contains(other_alphabet));
    }
}

#[test]
fn room_ids_of_version_12_are_the_create_events() {
    assert!(by_id("room-id")["forms"]["room version 12"].is_string());
    let create =
        Event::new("$hash", json::parse_object(r#"{"type":"m.room.create","state_key":""}"#).unwrap());
    assert_eq!(create.room_id(), Some("!hash"));
}

#[test]
fn lookup_hashes() {
    for pair in by_id("identity-lookup-sha256")["pairs"].as_array().unwrap() {
        let hash = base64::encode_url_safe(Sha256::digest(text(&pair[0])));
        assert_eq!(hash, text(&pair[1]));
    }
}

#[test]
fn room_version_identifiers_that_are_not_room_versions() {
    for id in by_id("room-version")["valid"].as_array().unwrap() {
        assert_eq!(room_version(text(id)).is_some(), id == "1");
    }
}

#[test]
fn power_levels_as_strings() {
    for pair in by_id("power-level-strings")["pairs"].as_array().unwrap() {
        for version in &matriarch_rules::room_version::ALL {
            let level = power_levels::parse_level(version, &pair[0]);
            let expected = pair[1].as_i64().filter(|_| !version.integer_power_levels);
            assert_eq!(level, expected, "{pair} in room version {}", version.id);
        }
    }
}

#[test]
fn power_levels_as_floats() {
    let vector = by_id("power-level-floats");
    for pair in vector["pairs"].as_array().unwrap() {
        let float = json::parse_value(text(&pair[0])).unwrap();
        for version in &matriarch_rules::room_version::ALL {
            let level = power_levels::parse_level(version, &float);
            let expected = pair[1].as_i64().filter(|_| !version.strict_canonical_json);
            assert_eq!(level, expected, "{pair} in room version {}", version.id);
        }
    }
    for rejected in vector["rejected"].as_array().unwrap() {
        json::parse_value(text(rejected)).unwrap_err();
        let v1 = room_version("1").unwrap();
        assert_eq!(power_levels::parse_level(v1, rejected), None);
    }
}

#[test]
fn grammars_of_identifiers() {
    type Grammar = fn(&str) -> bool;
    let grammars: [(Value, Grammar); 2] = [
        (by_id("common-namespaced-identifier"), is_common_namespaced_identifier),
        (by_id("opaque-identifier"), is_opaque_identifier),
    ];
    for (vector, accepts) in grammars {
        // `^[…]{1,255}$`, or `^[…][…]{0,254}$`.
        let regex = text(&vector["regex"]).trim_start_matches('^').trim_end_matches('$');
        let classes: Vec<&str> =
            regex.split(['[', ']']).filter(|part| !part.is_empty() && !part.contains('{')).collect();
        let (first, others) = (classes[0], classes[classes.len() - 1]);
        for char in (0..=0x2ff).filter_map(char::from_u32) {
            assert_eq!(accepts(&char.to_string()), in_class(first, char), "{char:?}");
            assert_eq!(accepts(&format!("a{char}")), in_class(others, char), "{char:?}");
        }
        assert!(!accepts("") && accepts(&"a".repeat(255)) && !accepts(&"a".repeat(256)));
    }
    let reserved = by_id("common-namespaced-identifier");
    assert!(is_common_namespaced_identifier(&format!("{}x", text(&reserved["reserved_prefix"]))));
}

/// Whether a character class of a regular expression, such as `a-z._-`, holds the character.
fn in_class(class: &str, char: char) -> bool {
    let class: Vec<char> = class.chars().collect();
    match class.as_slice() {
        [] => false,
        [from, '-', to, ..] => {
            (*from..=*to).contains(&char) || in_class(&class[3..].iter().collect::<String>(), char)
        }
        [one, ..] => *one == char || in_class(&class[1..].iter().collect::<String>(), char),
    }
}

#[test]
fn names_mapped_to_localparts() {
    for pair in by_id("user-id-mapping")["pairs"].as_array().unwrap() {
        let (name, localpart) = (text(&pair[0]), text(&pair[1]));
        assert_eq!(localpart::from_name(name, Case::Keep), localpart);
        assert!(is_localpart(localpart));
    }
    // "'_a' is for bridges that keep case apart; otherwise 'A' becomes 'a'."
    assert_eq!(localpart::from_name("A", Case::Fold), "a");
}

#[test]
fn room_aliases_are_limited_in_bytes() {
    let vector = by_id("room-alias");
    assert!(is_room_alias(&text(&vector["form"]).replace("domain", "example.org")));
    let max = usize::try_from(vector["max_bytes"].as_u64().unwrap()).unwrap();
    let of_bytes = |bytes: usize| format!("#{}é:a", "a".repeat(bytes - 5));
    assert!(is_room_alias(&of_bytes(max)));
    assert!(!is_room_alias(&of_bytes(max + 1)));
    // "any code points but surrogates, ':' and NUL"
    assert!(is_room_alias("#Ä ö\u{1}\u{10ffff}:example.org"));
    assert!(!is_room_alias("#a\0:example.org"));
}

/// The target of a link in a vector: `$event in !room`, or a single id.
fn target(description: &str) -> (&str, Option<&str>) {
    match description.split_once(" in ") {
        Some((event_id, room_id)) => (room_id, Some(event_id)),
        None => (description, None),
    }
}

/// The server that the vectors route to.
fn via() -> Vec<OwnedServerName> {
    vec![OwnedServerName::try_from("elsewhere.ca").unwrap()]
}

#[test]
fn matrix_uris() {
    for pair in by_id("matrix-uri")["pairs"].as_array().unwrap() {
        let ((id, event_id), uri) = (target(text(&pair[0])), text(&pair[1]));
        let expected = match (&id[..1], event_id) {
            ("#", _) => RoomAliasId::parse(id).unwrap().matrix_uri(false),
            ("@", _) => UserId::parse(id).unwrap().matrix_uri(true),
            (_, None) => RoomId::parse(id).unwrap().matrix_uri_via(via(), false),
            (_, Some(event_id)) => {
                let event_id = EventId::parse(event_id).unwrap();
                RoomId::parse(id).unwrap().matrix_event_uri_via(event_id, via())
            }
        };
        assert_eq!(expected.to_string(), uri);
        assert_eq!(MatrixUri::parse(uri).unwrap(), expected);
    }
}

#[test]
fn matrix_to_links() {
    let vector = by_id("matrix-to");
    let pairs = vector["pairs"].as_array().unwrap();
    for (index, pair) in pairs.iter().enumerate() {
        let ((id, event_id), link) = (target(text(&pair[0])), text(&pair[1]));
        let expected = match (&id[..1], event_id) {
            ("#", _) => RoomAliasId::parse(id).unwrap().matrix_to_uri(),
            ("@", _) => UserId::parse(id).unwrap().matrix_to_uri(),
            (_, None) => RoomId::parse(id).unwrap().matrix_to_uri_via(via()),
            // The link contains an event id of room version 1 or 2.
            (_, Some(event_id)) => {
                let event_id = EventId::parse(format!("{event_id}:example.org")).unwrap();
                RoomId::parse(id).unwrap().matrix_to_event_uri_via(event_id, via())
            }
        };
        assert_eq!(MatrixToUri::parse(link).unwrap(), expected);
        // "The last four are the same links with every special character encoded."
        if index < pairs.len() - 4 {
            assert_eq!(expected.to_string(), link);
        }
    }
}

#[test]
fn email_addresses() {
    for pair in by_id("3pid-email")["pairs"].as_array().unwrap() {
        assert_eq!(canonical_email(text(&pair[0])), text(&pair[1]));
    }
}

#[test]
fn property_paths() {
    for pair in by_id("property-path")["pairs"].as_array().unwrap() {
        let names: Vec<&str> = pair[0].as_array().unwrap().iter().map(text).collect();
        assert_eq!(property_path::join(names.iter().copied()), text(&pair[1]));
        assert_eq!(property_path::split(text(&pair[1])), names);
    }
    // "Another escape such as \x is a literal backslash and x."
    assert_eq!(property_path::split(r"content.\x"), ["content", r"\x"]);
}

#[test]
fn keys_for_people() {
    let vector = by_id("key-representation");
    let written = key_representation::encode(&[0xa5; 32]);
    let groups: Vec<&str> = written.split(' ').collect();
    assert!(groups.iter().rev().skip(1).all(|group| group.len() == 4));
    let letters = groups.concat();
    let digits = letters.chars().map(|letter| text(&vector["base58_alphabet"]).find(letter).unwrap());
    // The number that base58 encodes, as bytes, most significant first.
    let mut bytes = [0_u8; 35];
    for digit in digits {
        let mut carry = digit;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = u8::try_from(carry % 256).unwrap();
            carry /= 256;
        }
        assert_eq!(carry, 0);
    }
    let hex: String = bytes[..2].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, text(&vector["prefix_hex"]));
    assert_eq!(bytes[2..34], [0xa5; 32]);
    assert_eq!(bytes[34], bytes[..34].iter().fold(0, |parity, byte| parity ^ byte));
    assert_eq!(key_representation::decode(&written), Some(vec![0xa5; 32]));
}

#[test]
fn globs() {
    for (char, meaning) in by_id("glob")["rules"].as_object().unwrap() {
        let least = match text(meaning) {
            "zero or more characters" => 0,
            "exactly one character" => 1,
            other => panic!("{other}"),
        };
        for (count, run) in ["", "é", "éa", "éa.", "éa.*"].into_iter().enumerate() {
            let expected = least == 0 || count == 1;
            assert_eq!(glob::matches(char, run), expected, "{char} {run}");
            assert_eq!(glob::matches(&format!("x{char}y"), &format!("x{run}y")), expected, "{char} {run}");
        }
    }
}

#[test]
fn children_of_spaces() {
    let vector = by_id("space-children-order");
    let mut children: Vec<Event> =
        vector["input"].as_array().unwrap().iter().map(|child| Event::new("$child", object(child))).collect();
    let sorted = |children: &[Event]| {
        let mut children: Vec<&Event> = children.iter().collect();
        children.sort_by(|one, other| space::compare_children(one, other));
        Value::from_iter(children.into_iter().map(|child| child.state_key().unwrap()))
    };
    for _ in 0..children.len() {
        assert_eq!(sorted(&children), vector["expected_state_keys"]);
        children.rotate_left(1);
    }
}

#[test]
fn every_vector_is_tested() {
    let here = include_str!("vectors.rs");
    for vector in vectors() {
        let (id, kind) = (text(&vector["id"]), text(&vector["kind"]));
        let tested = here.contains(&format!("(\"{id}\")"))
            || here.contains(&format!("(\"{id}\","))
            || here.contains(&format!("of_kind(\"{kind}\")"));
        assert!(tested, "{id}");
    }
}
