//! Random JSON and random events.

use matriarch_rules::{Map, RoomVersion, canonical_json::MAX_INTEGER, room_version::ALL};
use proptest::{collection, option, prelude::*, sample::select};
use serde_json::{Value, json};

/// The number of cases, unless the environment variable `PROPTEST_CASES` sets another.
pub fn cases(count: u32) -> ProptestConfig {
    if std::env::var_os("PROPTEST_CASES").is_some() {
        ProptestConfig::default()
    } else {
        ProptestConfig::with_cases(count)
    }
}

/// Any room version.
pub fn version() -> impl Strategy<Value = &'static RoomVersion> {
    select(ALL.iter().collect::<Vec<_>>())
}

/// A string with difficult characters: control characters, quotes, anything of Unicode.
pub fn string() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z_.]{0,8}",
        "[\\x00-\\x7f]{0,8}",
        any::<String>(),
        Just("\u{7f}\u{2028}\u{ffff}\u{10ffff}".to_owned()),
    ]
}

/// Any value that has a canonical JSON.
pub fn canonical_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-MAX_INTEGER..=MAX_INTEGER).prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        select(vec![MAX_INTEGER, -MAX_INTEGER]).prop_map(Value::from),
        string().prop_map(Value::from),
    ];
    nested(leaf)
}

/// Any JSON value.
pub fn any_value() -> impl Strategy<Value = Value> {
    nested(prop_oneof![
        4 => canonical_value(),
        1 => any::<f64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => (-5..5i8).prop_map(|float| Value::from(f64::from(float))),
    ])
}

fn nested(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            collection::btree_map(string(), inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

pub fn canonical_object() -> impl Strategy<Value = Map> {
    collection::btree_map(string(), canonical_value(), 0..6).prop_map(|map| map.into_iter().collect())
}

/// The names that redaction knows, at any level.
const NAMES: [&str; 38] = [
    "event_id",
    "type",
    "room_id",
    "sender",
    "state_key",
    "hashes",
    "signatures",
    "depth",
    "prev_events",
    "prev_state",
    "auth_events",
    "origin",
    "origin_server_ts",
    "membership",
    "unsigned",
    "redacts",
    "age_ts",
    "creator",
    "room_version",
    "join_rule",
    "allow",
    "ban",
    "events",
    "events_default",
    "invite",
    "kick",
    "redact",
    "state_default",
    "users",
    "users_default",
    "notifications",
    "aliases",
    "history_visibility",
    "third_party_invite",
    "signed",
    "join_authorised_via_users_server",
    "body",
    "x",
];

const TYPES: [&str; 9] = [
    "m.room.member",
    "m.room.create",
    "m.room.join_rules",
    "m.room.power_levels",
    "m.room.aliases",
    "m.room.history_visibility",
    "m.room.redaction",
    "m.room.message",
    "m.room.server_acl",
];

fn named_object(max: usize) -> impl Strategy<Value = Map> {
    collection::btree_map(select(&NAMES[..]), canonical_value(), 0..max)
        .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// An event with a type and content, and any other fields that redaction knows, with any values.
pub fn event() -> impl Strategy<Value = Map> {
    let third_party_invite = option::of(named_object(8));
    (select(&TYPES[..]), named_object(10), named_object(14), third_party_invite).prop_map(
        |(event_type, mut event, mut content, third_party_invite)| {
            // A `third_party_invite` that is not an object has no field `signed` that redaction could
            // keep, so it is removed. ruma keeps it.
            content.remove("third_party_invite");
            if let Some(third_party_invite) = third_party_invite {
                content.insert("third_party_invite".to_owned(), third_party_invite.into());
            }
            event.insert("type".to_owned(), event_type.into());
            event.insert("content".to_owned(), content.into());
            // ruma fails on these if they are not objects; such an event is malformed.
            for field in ["hashes", "signatures", "unsigned"] {
                if event.get(field).is_some_and(|value| !value.is_object()) {
                    event.insert(field.to_owned(), json!({}));
                }
            }
            event
        },
    )
}

/// `additional_creators` of a create event, well-formed or not.
pub fn additional_creators() -> impl Strategy<Value = Value> {
    let creator = select(vec![json!("@a:a"), json!("@:a"), json!("a"), json!(1), json!("@a:a b")]);
    prop_oneof![
        collection::vec(creator, 0..3).prop_map(Value::from),
        select(vec![json!(null), json!({}), json!("@a:a")]),
    ]
}
