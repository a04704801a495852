//! Rule 4.4.1 (5.3.1 until room version 5, 4.3.1 until 7, 5.4.1 since 12): invites by third-party
//! identifiers.

use std::ops::Deref;

use serde_json::Value;

use super::{
    rule::{Rejection, Rule},
    state::{Membership, State},
};
use crate::{
    Event, Map,
    signature::{PublicKey, json_to_sign},
};

/// Rule 4.4.1: if `content` has a `third_party_invite` property, all of its clauses.
pub(super) fn check<E, F>(
    state: &State<'_, E, F>,
    event: &Event,
    target: &str,
    third_party_invite: &Value,
) -> Result<(), Rejection>
where
    E: Deref<Target = Event>,
    F: Fn(&str, &str) -> Option<E>,
{
    let reject = |rule, reason: &str| Err(Rejection::new(state.version, rule, reason));

    // 4.4.1.1. If target user is banned, reject.
    if state.membership(target) == Membership::Ban {
        return reject(Rule::ThirdPartyBanned, &format!("{target} is banned from the room"));
    }
    // 4.4.1.2. If `content.third_party_invite` does not have a `signed` property, reject.
    let Some(signed) = third_party_invite.get("signed").and_then(Value::as_object) else {
        return reject(Rule::ThirdPartyNotSigned, "nothing is signed");
    };
    // 4.4.1.3. If `signed` does not have `mxid` and `token` properties, reject.
    let property = |name| signed.get(name).and_then(Value::as_str);
    let (Some(mxid), Some(token)) = (property("mxid"), property("token")) else {
        return reject(Rule::ThirdPartyMalformed, "no user id or no token is signed");
    };
    // 4.4.1.4. If `mxid` does not match `state_key`, reject.
    if mxid != target {
        return reject(Rule::ThirdPartyOtherUser, "another user's id is signed");
    }
    // 4.4.1.5. If there is no `m.room.third_party_invite` event in the current room state with `state_key`
    // matching `token`, reject.
    let Some(invite) = (state.fetch)("m.room.third_party_invite", token) else {
        return reject(Rule::ThirdPartyUnknownToken, "no third-party invite has this token");
    };
    // 4.4.1.6. If `sender` does not match `sender` of the `m.room.third_party_invite`, reject.
    if event.sender() != invite.sender() {
        return reject(Rule::ThirdPartyOtherSender, "another user made the third-party invite");
    }
    // 4.4.1.7. If any signature in `signed` matches any public key in the `m.room.third_party_invite`
    // event, allow. 4.4.1.8. Otherwise, reject.
    if signing_keys(&invite, signed).is_empty() {
        reject(Rule::ThirdPartyOtherwise, "no signature matches a public key")
    } else {
        Ok(())
    }
}

/// A key of an `m.room.third_party_invite`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteKey<'e> {
    /// In base64.
    pub public_key: &'e str,
    /// The URL that tells whether the key is still valid; `None` if it always is.
    pub key_validity_url: Option<&'e str>,
}

/// Those keys in `public_key` and `public_keys` of an `m.room.third_party_invite` that signed `signed`.
/// Values that are no keys are ignored.
pub fn signing_keys<'e>(invite: &'e Event, signed: &Map) -> Vec<InviteKey<'e>> {
    let Ok(message) = json_to_sign(signed) else {
        return Vec::new();
    };
    let signatures: Vec<&str> = signed
        .get("signatures")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::values)
        .filter_map(Value::as_object)
        .flatten()
        .filter(|(key_id, _)| key_id.starts_with("ed25519:"))
        .filter_map(|(_, signature)| signature.as_str())
        .collect();
    let signs = |key: &&InviteKey<'e>| {
        PublicKey::from_base64(key.public_key)
            .is_ok_and(|key| signatures.iter().any(|signature| key.verifies(message.as_bytes(), signature)))
    };
    let content = invite.content();
    let listed = content.get("public_keys").and_then(Value::as_array);
    let entries = listed.into_iter().flatten().filter_map(Value::as_object);
    let keys: Vec<InviteKey<'e>> = std::iter::once(content)
        .chain(entries)
        .filter_map(|entry| {
            Some(InviteKey {
                public_key: entry.get("public_key")?.as_str()?,
                key_validity_url: entry.get("key_validity_url").and_then(Value::as_str),
            })
        })
        .collect();
    keys.iter().filter(signs).copied().collect()
}
