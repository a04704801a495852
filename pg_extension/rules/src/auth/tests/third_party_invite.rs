//! Invites by third-party identifiers.

use serde_json::{Value, json};

use super::{ADMIN, OTHER, Room, USER, all, by_member_rules};
use crate::{Event, KeyPair, Map, base64, signature::sign_json};

fn key(seed: u8) -> KeyPair {
    KeyPair::from_seed("ed25519:0", &[seed; 32]).unwrap()
}

/// The object that the identity server signs for a user.
fn signed(user: &str, token: &str) -> Map {
    let mut signed = Map::new();
    signed.insert("mxid".to_owned(), user.into());
    signed.insert("token".to_owned(), token.into());
    sign_json(&mut signed, "identity", &key(1)).unwrap();
    signed
}

/// A room where `USER` made a third-party invite with this content.
fn room(version: &'static crate::RoomVersion, keys: Value) -> Room {
    let mut room = Room::new(version);
    room.set(USER, "m.room.third_party_invite", "token", keys);
    room
}

fn single_key() -> Value {
    json!({ "public_key": key(1).public_key_base64() })
}

fn invite(room: &Room, sender: &str, third_party_invite: Value) -> Event {
    let content = json!({ "membership": "invite", "third_party_invite": third_party_invite });
    room.event(sender, "m.room.member", Some(OTHER), content)
}

fn good() -> Value {
    json!({ "display_name": "o", "signed": signed(OTHER, "token") })
}

fn clause(room: &Room, clause: &str) -> String {
    let rule = by_member_rules(room.version, ["5.3.1", "4.3.1", "4.4.1", "5.4.1"]);
    format!("{rule}.{clause}")
}

#[test]
fn signed_invites_are_allowed() {
    for version in all() {
        let mut room = room(version, single_key());
        room.allows(&invite(&room, USER, good()));
        // Neither the sender's membership nor its level matter, nor whether the target is in the room.
        room.set_levels(json!({ "invite": 100 }));
        room.set_member(USER, "leave");
        room.set_member(OTHER, "join");
        room.allows(&invite(&room, USER, good()));
    }
}

#[test]
fn any_key_will_do() {
    let (good_key, other_key) = (key(1).public_key_base64(), key(2).public_key_base64());
    let url_safe = base64::encode_url_safe(base64::decode(&good_key).unwrap());
    for version in all() {
        for keys in [
            json!({ "public_keys": [{ "public_key": good_key }] }),
            json!({
                "public_key": other_key,
                "public_keys": [{ "public_key": other_key }, { "public_key": good_key }],
            }),
            json!({ "public_key": good_key, "public_keys": [{ "public_key": other_key }] }),
            json!({ "public_key": url_safe }),
            // Malformed keys are ignored. (ruma rejects the event.)
            json!({
                "public_key": 1,
                "public_keys": [1, {}, { "public_key": "?" }, { "public_key": good_key }],
            }),
        ] {
            let room = room(version, keys);
            room.allows(&invite(&room, USER, good()));
        }
    }
}

#[test]
fn any_signature_will_do() {
    for version in all() {
        let room = room(version, single_key());
        let mut signed = signed(OTHER, "token");
        // Malformed signatures are ignored. (ruma rejects the event.)
        signed["signatures"]["another"] = json!({ "ed25519:0": "AAAA", "ed25519:1": 1, "rsa:1": "x" });
        signed["signatures"]["a"] = json!("x");
        room.allows(&invite(&room, USER, json!({ "signed": signed })));
    }
}

#[test]
fn banned_users_are_rejected() {
    for version in all() {
        let mut room = room(version, single_key());
        room.set_member(OTHER, "ban");
        room.rejects(&invite(&room, USER, good()), &clause(&room, "1"));
    }
}

#[test]
fn nothing_signed_is_rejected() {
    for version in all() {
        let room = room(version, single_key());
        // `null` is a property too. (For ruma it is absent, and the sender may invite as usual.)
        for third_party_invite in [json!({}), json!({ "signed": 1 }), json!(null), json!("x")] {
            room.rejects(&invite(&room, USER, third_party_invite), &clause(&room, "2"));
        }
    }
}

#[test]
fn missing_user_or_token_is_rejected() {
    for version in all() {
        let room = room(version, single_key());
        for field in ["mxid", "token"] {
            let mut signed = signed(OTHER, "token");
            signed.insert(field.to_owned(), 1.into());
            room.rejects(&invite(&room, USER, json!({ "signed": signed.clone() })), &clause(&room, "3"));
            signed.remove(field);
            room.rejects(&invite(&room, USER, json!({ "signed": signed })), &clause(&room, "3"));
        }
    }
}

#[test]
fn another_user_is_rejected() {
    for version in all() {
        let room = room(version, single_key());
        let signed = signed("@another:c", "token");
        room.rejects(&invite(&room, USER, json!({ "signed": signed })), &clause(&room, "4"));
    }
}

#[test]
fn unknown_token_is_rejected() {
    for version in all() {
        let room = room(version, single_key());
        let signed = signed(OTHER, "another");
        room.rejects(&invite(&room, USER, json!({ "signed": signed })), &clause(&room, "5"));
    }
}

#[test]
fn another_sender_is_rejected() {
    for version in all() {
        let room = room(version, single_key());
        room.rejects(&invite(&room, ADMIN, good()), &clause(&room, "6"));
    }
}

#[test]
fn signatures_by_other_keys_are_rejected() {
    for version in all() {
        for keys in [json!({}), json!({ "public_key": key(2).public_key_base64() })] {
            let room = room(version, keys);
            room.rejects(&invite(&room, USER, good()), &clause(&room, "8"));
        }
        let room = room(version, single_key());
        let mut changed = signed(OTHER, "token");
        changed.insert("more".to_owned(), 1.into());
        room.rejects(&invite(&room, USER, json!({ "signed": changed })), &clause(&room, "8"));
        let mut unsigned = signed(OTHER, "token");
        unsigned.remove("signatures");
        room.rejects(&invite(&room, USER, json!({ "signed": unsigned })), &clause(&room, "8"));
    }
}
