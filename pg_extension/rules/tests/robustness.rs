//! Nothing panics, whatever the input.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "oracle/random.rs"]
#[expect(dead_code, reason = "shared with the comparison tests")]
mod random;

use matriarch_rules::{
    Event, EventBuilder, KeyPair, Map, auth_types_for_event, base64, canonical_json, check_state_dependent,
    check_state_independent,
    event::check_pdu_format,
    hash, identifiers, json,
    power_levels::{self, LevelName, PowerLevels},
    redaction,
    room_version::{self, ALL},
    signature::{self, PublicKey},
    state_resolution::memory::{MemoryRoom, StateMap},
};
use proptest::{collection, prelude::*, sample::select};
use serde_json::Value;

/// Field names that the rules read, at any level.
const FIELDS: [&str; 30] = [
    "type",
    "sender",
    "state_key",
    "room_id",
    "event_id",
    "content",
    "auth_events",
    "prev_events",
    "depth",
    "origin_server_ts",
    "redacts",
    "hashes",
    "signatures",
    "unsigned",
    "membership",
    "third_party_invite",
    "signed",
    "mxid",
    "token",
    "public_key",
    "public_keys",
    "join_authorised_via_users_server",
    "creator",
    "additional_creators",
    "users",
    "events",
    "notifications",
    "join_rule",
    "a",
    "ed25519:a",
];

const STRINGS: [&str; 22] = [
    "m.room.create",
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.third_party_invite",
    "m.room.aliases",
    "m.room.redaction",
    "m.room.message",
    "",
    "@a:a",
    "@b:b",
    "!r:a",
    "!create",
    "$create",
    "$e:a",
    "join",
    "invite",
    "ban",
    "restricted",
    "token",
    "a",
    "50",
];

/// JSON made of fields and values that the rules read, in the wrong and in the right positions.
fn familiar_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        4 => select(&STRINGS[..]).prop_map(Value::from),
        1 => random::any_value(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            1 => collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            3 => collection::btree_map(select(&FIELDS[..]), inner, 0..5).prop_map(|map| {
                map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
            }),
        ]
    })
}

/// An event made of known fields.
fn familiar_event() -> impl Strategy<Value = Map> {
    let field = prop_oneof![select(&STRINGS[..]).prop_map(Value::from), familiar_value()];
    let object = collection::btree_map(select(&FIELDS[..]), familiar_value(), 0..6)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>());
    (collection::btree_map(select(&FIELDS[..14]), field, 4..14), object, select(&STRINGS[..8])).prop_map(
        |(fields, content, event_type)| {
            let mut event: Map = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            event.insert("content".to_owned(), content);
            event.insert("type".to_owned(), event_type.into());
            event
        },
    )
}

proptest! {
    #![proptest_config(random::cases(2000))]

    #[test]
    fn any_text(text in any::<String>()) {
        _ = json::parse_object(&text);
        _ = base64::decode(&text);
        _ = base64::decode_any(&text);
        _ = identifiers::is_user_id(&text);
        _ = identifiers::is_server_name(&text);
        _ = room_version::room_version(&text);
        _ = PublicKey::from_base64(&text);
        _ = KeyPair::from_base64_seed(&text, &text);
    }

    #[test]
    fn text_like_json(text in r#"[\[\]{}",:0-9eE.\-\\u a]{0,40}"#) {
        if let Ok(value) = json::parse_value(&text) {
            let canonical = canonical_json::to_canonical_lenient(&value);
            let again = json::parse_value(&canonical).unwrap();
            prop_assert_eq!(canonical_json::to_canonical_lenient(&again), canonical);
        }
    }

    #[test]
    fn any_value(value in random::any_value()) {
        let canonical = canonical_json::to_canonical_lenient(&value);
        json::parse_value(&canonical).unwrap();
        if let Ok(strict) = canonical_json::to_canonical(&value) {
            prop_assert_eq!(strict, canonical);
        }
        for version in &ALL {
            _ = power_levels::parse_level(version, &value);
        }
    }

}

proptest! {
    #![proptest_config(random::cases(1000))]

    #[test]
    fn any_event(
        version in random::version(),
        mut object in familiar_event(),
        others in collection::vec(familiar_event(), 6),
    ) {
        let key = KeyPair::from_seed("ed25519:a", &[1; 32]).unwrap();
        _ = check_pdu_format(version, &object);
        _ = Event::from_pdu(version, object.clone());
        _ = hash::event_id(version, &object);
        _ = hash::content_hash_matches(&object);
        _ = signature::signing_servers(version, &object);
        _ = signature::verify_event(version, &object, |_, _| Some(key.public_key()));
        _ = signature::verify_json(&object, "a", |_| Some(key.public_key()));
        let redacted = redaction::redact(version, object.clone());
        prop_assert_eq!(&redaction::redact(version, redacted.clone()), &redacted);
        prop_assert_eq!(hash::reference_hash(version, &redacted), hash::reference_hash(version, &object));

        let event = Event::new("$e:a", object.clone());
        let (event_type, state_key) = (event.event_type(), event.state_key());
        _ = auth_types_for_event(version, event_type, event.sender(), state_key, event.content());
        let others: Vec<_> = others.iter().cloned().map(|other| Event::new("$create", other)).collect();
        _ = check_state_independent(version, &event, |event_id| others.get(event_id.len() % 8));
        // Any event may be any entry of the state, but member events are frequent enough.
        let create = Event::new("$create", others[0].json().clone());
        _ = check_state_dependent(version, &event, |event_type, state_key| match event_type {
            "m.room.create" => Some(&create),
            _ => others.get((event_type.len() + state_key.len()) % 8),
        });
        let levels = PowerLevels::new(version, &create, Some(&event));
        _ = levels.may("@a:a", LevelName::Ban);
        _ = levels.may_send("@a:a", "m.room.message", false);
        _ = redaction::applies(version, &event, &create, &levels);
        let builder = EventBuilder {
            sender: event.sender().to_owned(),
            room_id: event.room_id().map(str::to_owned),
            event_type: event.event_type().to_owned(),
            content: event.content().clone(),
            redacts: Some("$x".to_owned()),
            depth: event.depth(),
            event_id: Some("$x".to_owned()),
            ..EventBuilder::default()
        };
        _ = builder.build(version, &key);
        _ = signature::sign_json(&mut object, "a", &key);
    }
    #[test]
    fn any_resolution(
        version in random::version(),
        events in collection::vec((familiar_event(), select(&STRINGS[..]), any::<bool>()), 1..12),
        auth_events in collection::vec(collection::vec(0..12i64, 0..5), 12),
        sets in collection::vec(collection::vec(0..12usize, 0..6), 0..5),
    ) {
        let mut room = MemoryRoom::new(version);
        let events = events.into_iter().zip(auth_events).enumerate();
        for (index, ((mut json, state_key, rejected), auth_events)) in events {
            json.insert("state_key".to_owned(), state_key.into());
            room.push_with(Event::new(format!("${index}"), json).with_rejected(rejected), auth_events);
        }
        let state = |set: &Vec<usize>| -> StateMap {
            let nids = set.iter().map(|index| (index % room.len()) as i64);
            nids.map(|nid| (room.key(nid).unwrap(), nid)).collect()
        };
        let sets: Vec<_> = sets.iter().map(state).collect();
        let (resolved, _) = room.resolve(&sets);
        // Repeated sets do not matter.
        let twice = [&sets[..], &sets[..]].concat();
        prop_assert_eq!(resolved, room.resolve(&twice).0);
    }
}
