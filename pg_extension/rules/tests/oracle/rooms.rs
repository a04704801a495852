//! Random rooms and random events in them.

use std::collections::BTreeMap;

use matriarch_rules::{
    Event, KeyPair, Map, RoomVersion, auth_types_for_event, identifiers::is_user_id, room_version::ALL,
    signature::sign_json,
};
use proptest::{collection, option, prelude::*, sample::select};
use serde_json::{Value, json};

/// The creator, users of its server, and users of other servers.
const USERS: [&str; 5] = ["@alice:a", "@bob:a", "@carol:b", "@dave:b", "@eve:c"];
pub const CREATOR: &str = USERS[0];
const TOKEN: &str = "token";
/// A state of a room, by type and state key.
pub type RoomState = BTreeMap<(String, String), Event>;

pub fn event(
    version: &RoomVersion,
    event_id: &str,
    sender: &str,
    event_type: &str,
    state_key: Option<&str>,
    content: Value,
) -> Map {
    let mut json = Map::new();
    json.insert("event_id".to_owned(), event_id.into());
    json.insert("sender".to_owned(), sender.into());
    json.insert("type".to_owned(), event_type.into());
    json.insert("content".to_owned(), content);
    json.insert("prev_events".to_owned(), json!([]));
    json.insert("auth_events".to_owned(), json!([]));
    if let Some(state_key) = state_key {
        json.insert("state_key".to_owned(), state_key.into());
    }
    if !version.room_id_is_create_event_id {
        json.insert("room_id".to_owned(), "!room:a".into());
    } else if event_type != "m.room.create" {
        json.insert("room_id".to_owned(), "!create".into());
    }
    json
}
/// Room versions that ruma supports fully.
pub fn version() -> impl Strategy<Value = &'static RoomVersion> {
    select(ALL[5..].iter().collect::<Vec<_>>())
}

fn user() -> impl Strategy<Value = &'static str> {
    select(&USERS[..])
}

fn membership() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("join"),
        2 => Just("invite"),
        2 => Just("leave"),
        2 => Just("ban"),
        2 => Just("knock"),
        1 => Just("other"),
    ]
}

fn join_rule() -> impl Strategy<Value = &'static str> {
    select(&["public", "invite", "knock", "restricted", "knock_restricted", "private", "other"][..])
}

/// A level that can be read in every room version (`readable`) or in some or none.
fn level(readable: bool) -> BoxedStrategy<Value> {
    let good = prop_oneof![
        4 => select(vec![0, 1, 49, 50, 51, 99, 100, 101, -1, -100]).prop_map(Value::from),
        1 => (-(1i64 << 53) + 1..1i64 << 53).prop_map(Value::from),
    ];
    if readable {
        return good.boxed();
    }
    prop_oneof![
        20 => good,
        2 => select(vec![" 50 ", "+50", "-5", "0050", "100"]).prop_map(Value::from),
        1 => select(vec!["", "x", "5.0", "+-5", "- 5", "1e2", "0x10"]).prop_map(Value::from),
        1 => select(vec![json!(null), json!(true), json!([50]), json!({}), json!(50.5), json!(50.0)]),
    ]
    .boxed()
}

/// The content of `m.room.power_levels`, also malformed unless `readable`.
fn power_levels(readable: bool) -> BoxedStrategy<Value> {
    let names = ["users_default", "events_default", "state_default", "ban", "redact", "kick", "invite"];
    let event_types = [
        "m.room.power_levels",
        "m.room.name",
        "m.room.member",
        "m.room.message",
        "m.room.third_party_invite",
    ];
    let user_ids = if readable {
        USERS.to_vec()
    } else {
        let mut user_ids = USERS.to_vec().repeat(4);
        user_ids.extend(["", "@x", "alice", "@:a", "@a b:a", "@a:ü"]);
        user_ids
    };
    let map = move |keys: Vec<&'static str>, size| {
        let entries = collection::btree_map(select(keys), level(readable), 0..size)
            .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect::<Value>());
        if readable {
            entries.boxed()
        } else {
            prop_oneof![
                20 => entries,
                1 => select(vec![json!(null), json!([]), json!("x"), json!(1)]),
            ]
            .boxed()
        }
    };
    (
        collection::btree_map(select(names.to_vec()), level(readable), 0..5),
        option::weighted(0.5, map(event_types.to_vec(), 4)),
        option::weighted(0.3, map(vec!["room", "x"], 3)),
        option::weighted(0.9, map(user_ids, 6)),
    )
        .prop_map(|(levels, events, notifications, users)| {
            let mut content: Map = levels.into_iter().map(|(name, level)| (name.to_owned(), level)).collect();
            for (name, value) in [("events", events), ("notifications", notifications), ("users", users)] {
                if let Some(value) = value {
                    content.insert(name.to_owned(), value);
                }
            }
            content.into()
        })
        .boxed()
}

fn key() -> KeyPair {
    KeyPair::from_seed("ed25519:0", &[3; 32]).unwrap()
}

/// The content of `m.room.third_party_invite`.
fn public_keys() -> BoxedStrategy<Value> {
    let good = key().public_key_base64();
    let key = select(vec![good, "AAAA".to_owned(), "no key".to_owned()]);
    (option::of(key.clone()), option::of(collection::vec(key, 0..3)))
        .prop_map(|(single, list)| {
            let mut content = Map::new();
            if let Some(key) = single {
                content.insert("public_key".to_owned(), key.into());
            }
            if let Some(list) = list {
                let list: Vec<_> = list.into_iter().map(|key| json!({ "public_key": key })).collect();
                content.insert("public_keys".to_owned(), list.into());
            }
            content.into()
        })
        .boxed()
}

/// `third_party_invite` in the content of an invite. ruma takes `null` as absent, where the rules ask only
/// for the property, and rejects other signatures beside a good one if they are malformed.
fn third_party_invite(target: &'static str) -> BoxedStrategy<Value> {
    (
        option::weighted(0.95, prop_oneof![8 => Just(target), 1 => user()]),
        option::weighted(0.95, prop_oneof![8 => Just(TOKEN), 1 => Just("other")]),
        0..12,
    )
        .prop_map(|(mxid, token, flaw)| {
            let mut signed = Map::new();
            if let Some(mxid) = mxid {
                signed.insert("mxid".to_owned(), mxid.into());
            }
            if let Some(token) = token {
                signed.insert("token".to_owned(), token.into());
            }
            if flaw != 0 {
                sign_json(&mut signed, "identity", &key()).unwrap();
            }
            match flaw {
                1 => signed["signatures"]["identity"] = json!({ "ed25519:0": "AAAA", "x": "y" }),
                2 => {
                    signed.insert("more".to_owned(), 1.into());
                }
                3 => return json!({}),
                4 => return json!({ "signed": 1 }),
                _ => {}
            }
            json!({ "signed": signed })
        })
        .boxed()
}

fn member_content(target: &'static str) -> BoxedStrategy<Value> {
    (
        option::weighted(0.97, membership()),
        option::weighted(0.3, third_party_invite(target)),
        option::weighted(0.5, user()),
    )
        .prop_map(|(membership, third_party_invite, authorizer)| {
            let mut content = Map::new();
            if let Some(membership) = membership {
                content.insert("membership".to_owned(), membership.into());
            }
            if let Some(third_party_invite) = third_party_invite {
                content.insert("third_party_invite".to_owned(), third_party_invite);
            }
            // A value that is no user id has no signature, which the check of signatures rejects; ruma
            // rejects it everywhere.
            if let Some(authorizer) = authorizer {
                content.insert("join_authorised_via_users_server".to_owned(), authorizer.into());
            }
            content.into()
        })
        .boxed()
}

/// A state with a create event and any other events.
fn room_state(version: &'static RoomVersion) -> BoxedStrategy<RoomState> {
    (
        (option::of(any::<bool>()), option::of(collection::vec(user(), 0..3))),
        // ruma requires that unused levels are readable, and join rules where the default would do.
        option::weighted(0.7, power_levels(true)),
        join_rule(),
        collection::btree_map(user(), membership(), 2..6),
        option::weighted(0.8, (user(), public_keys())),
        user(),
    )
        .prop_map(move |((federate, additional), levels, rule, members, invite, sender)| {
            let mut create = json!({ "room_version": version.id });
            if !version.creator_is_sender {
                create["creator"] = CREATOR.into();
            }
            if let Some(federate) = federate {
                create["m.federate"] = federate.into();
            }
            if let Some(additional) = additional {
                create["additional_creators"] = additional.into();
            }
            let mut state = RoomState::new();
            let mut set = |event_id: String, sender: &str, event_type: &str, state_key: &str, content| {
                let json = event(version, &event_id, sender, event_type, Some(state_key), content);
                state.insert((event_type.to_owned(), state_key.to_owned()), Event::new(event_id, json));
            };
            set("$create".to_owned(), CREATOR, "m.room.create", "", create);
            set("$rule".to_owned(), sender, "m.room.join_rules", "", json!({ "join_rule": rule }));
            if let Some(levels) = levels {
                set("$levels".to_owned(), sender, "m.room.power_levels", "", levels);
            }
            for (user, membership) in members {
                let content = json!({ "membership": membership });
                set(format!("${}", &user[1..2]), user, "m.room.member", user, content);
            }
            if let Some((sender, content)) = invite {
                set("$invite".to_owned(), sender, "m.room.third_party_invite", TOKEN, content);
            }
            state
        })
        .boxed()
}

/// An event without `auth_events`.
fn incoming(version: &'static RoomVersion) -> BoxedStrategy<Map> {
    let state_key = prop_oneof![
        4 => Just(Some("")),
        2 => Just(None),
        2 => user().prop_map(Some),
        1 => select(vec![Some("@x"), Some("x"), Some("a"), Some("@:a"), Some("@x:a b")]),
    ];
    let prev_events = select(vec![json!(["$create"]), json!([]), json!(["$create", "$a"]), json!(["$a"])]);
    let other_type = select(vec![
        "m.room.message",
        "m.room.name",
        "m.room.join_rules",
        "m.room.third_party_invite",
        "m.room.redaction",
        "m.room.aliases",
        "m.room.encryption",
    ]);
    let member = user().prop_flat_map(|target| {
        (Just("m.room.member"), Just(Some(target)), member_content(target), any::<bool>())
    });
    let levels_key = prop_oneof![9 => Just(Some("")), 1 => state_key.clone()];
    let levels = (Just("m.room.power_levels"), levels_key, power_levels(false), Just(false));
    prop_oneof![
        12 => member,
        1 => (Just("m.room.member"), state_key.clone(), member_content("@x:a b"), any::<bool>()),
        12 => levels,
        6 => (other_type, state_key, Just(json!({ "redacts": "$a" })), Just(false)),
    ]
    .prop_flat_map(move |fields| (Just(fields), user(), prev_events.clone()))
    .prop_map(move |((event_type, state_key, content, by_oneself), sender, prev_events)| {
        let sender = state_key.filter(|_| by_oneself && state_key.is_some_and(is_user_id)).unwrap_or(sender);
        let mut json = event(version, "$incoming", sender, event_type, state_key, content);
        json.insert("prev_events".to_owned(), prev_events);
        json
    })
    .boxed()
}

/// Choices that make it more likely that an event passes the first rules.
fn favour() -> BoxedStrategy<Favour> {
    (
        prop::bool::weighted(0.8),
        option::weighted(0.6, select(vec![0, 49, 50, 51, 99, 100, 101])),
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.7),
    )
        .prop_map(|(joined, level, made_third_party_invite, alters_levels)| Favour {
            joined,
            level,
            made_third_party_invite,
            alters_levels,
        })
        .boxed()
}

#[derive(Clone, Debug)]
struct Favour {
    /// The sender is in the room, unless the event is about its own membership.
    joined: bool,
    /// The sender's power level, if there are power levels.
    level: Option<i64>,
    /// The sender made the room's third-party invite.
    made_third_party_invite: bool,
    /// New power levels are the current ones with one or two changes, so that more than their first
    /// difference is checked.
    alters_levels: bool,
}

impl Favour {
    fn apply(&self, version: &RoomVersion, state: &mut RoomState, event: &mut Map) {
        let sender = event["sender"].as_str().unwrap().to_owned();
        let event_type = event["type"].as_str().unwrap().to_owned();
        let mut change = |event_type: &str, state_key: &str, change: &dyn Fn(&mut Map)| {
            let key = (event_type.to_owned(), state_key.to_owned());
            if let Some(event) = state.remove(&key) {
                let event_id = event.event_id().to_owned();
                let mut json = event.into_json();
                change(&mut json);
                state.insert(key, Event::new(event_id, json));
            }
        };
        if self.made_third_party_invite {
            change("m.room.third_party_invite", TOKEN, &|invite| {
                invite.insert("sender".to_owned(), sender.as_str().into());
            });
        }
        if let Some(level) = self.level {
            change("m.room.power_levels", "", &|levels| {
                if levels["content"].get("users").is_some() {
                    levels["content"]["users"][sender.as_str()] = level.into();
                }
            });
        }
        if self.joined && event.get("state_key") != Some(&Value::from(sender.as_str())) {
            let event_id = format!("${}", &sender[1..2]);
            let content = json!({ "membership": "join" });
            let json = self::event(version, &event_id, &sender, "m.room.member", Some(&sender), content);
            state.insert(("m.room.member".to_owned(), sender), Event::new(event_id, json));
        }
        let current = state.get(&("m.room.power_levels".to_owned(), String::new()));
        if let (true, "m.room.power_levels", Some(current)) =
            (self.alters_levels, event_type.as_str(), current)
        {
            let changes = event["content"].as_object().unwrap().clone();
            let mut content = current.content().clone();
            for (key, change) in changes.into_iter().rev().take(2) {
                match (content.get_mut(&key), change) {
                    (Some(Value::Object(entries)), Value::Object(changes)) => {
                        entries.extend(changes.into_iter().take(1));
                    }
                    (_, change) => {
                        content.insert(key, change);
                    }
                }
            }
            event["content"] = content.into();
        }
    }
}

/// A room and an event.
pub fn case() -> BoxedStrategy<(&'static RoomVersion, RoomState, Map)> {
    version()
        .prop_flat_map(|version| (Just(version), room_state(version), incoming(version), favour()))
        .prop_map(|(version, mut state, mut event, favour)| {
            favour.apply(version, &mut state, &mut event);
            (version, state, event)
        })
        .boxed()
}

pub fn select_auth_events(version: &RoomVersion, state: &RoomState, event: &mut Map) {
    let selected = Event::new("$incoming", event.clone());
    let ids: Vec<_> = auth_types_for_event(
        version,
        selected.event_type(),
        selected.sender(),
        selected.state_key(),
        selected.content(),
    )
    .iter()
    .filter_map(|key| Some(state.get(key)?.event_id().to_owned()))
    .collect();
    event.insert("auth_events".to_owned(), ids.into());
}
