//! Events made of fields and values that the rules read, in the right and in the wrong positions.

use arbitrary::{Result, Unstructured};
use matriarch_rules::{Map, RoomVersion, room_version::ALL};
use serde_json::{Value, json};

const USERS: [&str; 6] = ["@alice:a", "@bob:b", "@carol:a", "@dave:c", "@:a", "nobody"];
const TYPES: [&str; 10] = [
    "m.room.member",
    "m.room.power_levels",
    "m.room.join_rules",
    "m.room.third_party_invite",
    "m.room.create",
    "m.room.redaction",
    "m.room.aliases",
    "m.room.topic",
    "m.room.message",
    "",
];
const MEMBERSHIPS: [&str; 6] = ["join", "invite", "leave", "ban", "knock", "x"];
const JOIN_RULES: [&str; 6] = ["public", "invite", "knock", "restricted", "knock_restricted", "private"];
const LEVELS: [&str; 9] = [
    "users_default",
    "events_default",
    "state_default",
    "ban",
    "kick",
    "redact",
    "invite",
    "notifications",
    "x",
];

/// A room version.
pub fn version(u: &mut Unstructured<'_>) -> Result<&'static RoomVersion> {
    u.choose(&ALL)
}

/// A user id, or a text that is almost one.
pub fn user(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&USERS).copied()
}

/// An event without id, `auth_events` and `prev_events`, in the room `!create:a` or in another one.
pub fn event(u: &mut Unstructured<'_>) -> Result<Map> {
    let event_type = *u.choose(&TYPES)?;
    let mut event = Map::new();
    event.insert("type".to_owned(), event_type.into());
    event.insert("sender".to_owned(), user(u)?.into());
    event.insert("room_id".to_owned(), if u.ratio(1, 20)? { "!other:b" } else { "!create:a" }.into());
    event.insert("origin_server_ts".to_owned(), u.int_in_range(0..=9)?.into());
    event.insert("depth".to_owned(), u.int_in_range(0..=9)?.into());
    let state_key = match event_type {
        "m.room.member" => Some(user(u)?),
        "m.room.third_party_invite" => Some("token"),
        "m.room.message" | "m.room.redaction" => None,
        _ => Some(if u.ratio(1, 8)? { user(u)? } else { "" }),
    };
    if let Some(state_key) = state_key {
        event.insert("state_key".to_owned(), state_key.into());
    }
    if event_type == "m.room.redaction" {
        event.insert("redacts".to_owned(), "$1".into());
    }
    let content = if u.ratio(1, 10)? { any_value(u, 3)? } else { content(u, event_type)? };
    event.insert("content".to_owned(), content);
    Ok(event)
}

fn content(u: &mut Unstructured<'_>, event_type: &str) -> Result<Value> {
    let mut content = Map::new();
    match event_type {
        "m.room.create" => {
            content.insert("creator".to_owned(), user(u)?.into());
            content.insert("m.federate".to_owned(), u.arbitrary::<bool>()?.into());
            if u.arbitrary()? {
                content.insert("additional_creators".to_owned(), json!([user(u)?]));
            }
        }
        "m.room.member" => {
            content.insert("membership".to_owned(), (*u.choose(&MEMBERSHIPS)?).into());
            if u.ratio(1, 3)? {
                content.insert("join_authorised_via_users_server".to_owned(), user(u)?.into());
            }
            if u.ratio(1, 6)? {
                let signed = json!({ "mxid": user(u)?, "token": "token", "signatures": any_value(u, 3)? });
                content.insert("third_party_invite".to_owned(), json!({ "signed": signed }));
            }
        }
        "m.room.power_levels" => {
            for key in LEVELS {
                if u.ratio(1, 4)? {
                    content.insert(key.to_owned(), level(u)?);
                }
            }
            for (key, names) in
                [("users", &USERS[..]), ("events", &TYPES[..]), ("notifications", &["room"][..])]
            {
                let mut levels = Map::new();
                for _ in 0..u.int_in_range(0..=3)? {
                    levels.insert((*u.choose(names)?).to_owned(), level(u)?);
                }
                content.insert(key.to_owned(), levels.into());
            }
        }
        "m.room.join_rules" => {
            content.insert("join_rule".to_owned(), (*u.choose(&JOIN_RULES)?).into());
        }
        "m.room.third_party_invite" => {
            content.insert("public_key".to_owned(), "O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik".into());
            content.insert("public_keys".to_owned(), any_value(u, 2)?);
        }
        _ => {
            content.insert("redacts".to_owned(), "$1".into());
        }
    }
    Ok(content.into())
}

fn level(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(match u.int_in_range(0..=9)? {
        0 => any_value(u, 1)?,
        1 => json!("50"),
        2 => json!(i64::MAX),
        3 => json!(-1),
        _ => json!(*u.choose(&[0, 10, 50, 100])?),
    })
}

/// Any JSON, nested up to `depth` times.
pub fn any_value(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 6 } else { 8 })? {
        0 => Value::Null,
        1 => u.arbitrary::<bool>()?.into(),
        2 => u.arbitrary::<i64>()?.into(),
        3 => u.arbitrary::<f64>()?.into(),
        4 => u.arbitrary::<&str>()?.into(),
        5 => user(u)?.into(),
        6 => (*u.choose(&MEMBERSHIPS)?).into(),
        7 => (0..u.int_in_range(0..=3)?).map(|_| any_value(u, depth - 1)).collect::<Result<Vec<_>>>()?.into(),
        _ => {
            let mut object = Map::new();
            for _ in 0..u.int_in_range(0..=3)? {
                object.insert(
                    u.choose(&["a", "ed25519:a", "public_key", "@alice:a"])?.to_string(),
                    any_value(u, depth - 1)?,
                );
            }
            object.into()
        }
    })
}
