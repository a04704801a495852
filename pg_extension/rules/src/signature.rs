//! Signing keys, and signatures of JSON objects and of events.
//!
//! Spec: [Signing JSON](https://spec.matrix.org/v1.19/appendices/#signing-json),
//! [Signing events](https://spec.matrix.org/v1.19/server-server-api/#signing-events).

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde_json::Value;

use crate::{
    Map, RoomVersion, base64,
    canonical_json::{self, CanonicalJsonError, fields_to_canonical_lenient},
    hash::{content_hash, content_hash_matches, signed_json},
    identifiers::server_name,
    json::{ExactObject, ExactRef, NumberTexts},
    json_text::object_text,
};

/// The prefix of key ids, which names the only signing algorithm of the specification.
const ALGORITHM_PREFIX: &str = "ed25519:";

/// Why a text is no key, or no key id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not base64.
    #[error("the key is not base64")]
    NotBase64,
    /// Not 32 bytes.
    #[error("the key does not have 32 bytes")]
    WrongLength,
    /// Not a point on the curve.
    #[error("the key is not an ed25519 public key")]
    NotAKey,
    /// A key id that is not `ed25519:` and a name of letters, digits and `_`.
    #[error("the key id is not `ed25519:` and a name")]
    BadKeyId,
}

/// A server's signing key and its id.
#[derive(Clone)]
pub struct KeyPair {
    key_id: String,
    key: SigningKey,
}

impl KeyPair {
    /// A key from its 32-byte seed. `key_id` is the whole signing key identifier, e.g. `ed25519:a_1`.
    pub fn from_seed(key_id: &str, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let name = key_id.strip_prefix(ALGORITHM_PREFIX).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(KeyError::BadKeyId);
        }
        Ok(Self { key_id: key_id.to_owned(), key: SigningKey::from_bytes(seed) })
    }

    /// As [`from_seed`](Self::from_seed), from a seed in base64.
    pub fn from_base64_seed(key_id: &str, seed: &str) -> Result<Self, KeyError> {
        Self::from_seed(key_id, &key_bytes(base64::decode(seed))?)
    }

    /// The signing key identifier, e.g. `ed25519:a_1`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key in unpadded base64.
    pub fn public_key_base64(&self) -> String {
        base64::encode(self.key.verifying_key())
    }

    /// The public key.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.key.verifying_key())
    }

    /// The signature of these bytes in unpadded base64.
    pub fn sign(&self, message: &[u8]) -> String {
        base64::encode(self.key.sign(message).to_bytes())
    }
}

impl fmt::Debug for KeyPair {
    /// Writes the key id, but not the secret key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyPair({})", self.key_id)
    }
}

/// A public key, which verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

impl PublicKey {
    /// A key in base64, standard or URL-safe.
    pub fn from_base64(key: &str) -> Result<Self, KeyError> {
        let bytes = key_bytes(base64::decode_any(key))?;
        VerifyingKey::from_bytes(&bytes).map(Self).map_err(|_| KeyError::NotAKey)
    }

    /// Whether `signature`, in base64, is this key's signature of the message.
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        base64::decode(signature)
            .ok()
            .and_then(|bytes| Signature::from_slice(&bytes).ok())
            .is_some_and(|signature| self.0.verify_strict(message, &signature).is_ok())
    }
}

fn key_bytes<E>(decoded: Result<Vec<u8>, E>) -> Result<[u8; 32], KeyError> {
    decoded.map_err(|_| KeyError::NotBase64)?.try_into().map_err(|_| KeyError::WrongLength)
}

/// Why an object does not have the signatures that it needs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// `signatures` has no entry for the server, or none with a known algorithm.
    #[error("no signature of {server}")]
    NotSigned {
        /// The server.
        server: String,
    },
    /// Every signature of the server was made with an unknown or expired key.
    #[error("no known key signed for {server}")]
    NoKnownKey {
        /// The server.
        server: String,
    },
    /// A signature with a known key is wrong.
    #[error("wrong signature of {server} by key {key_id}")]
    Wrong {
        /// The server.
        server: String,
        /// The signing key identifier.
        key_id: String,
    },
    /// The object has no canonical JSON, so it cannot be signed or checked.
    #[error(transparent)]
    NotCanonical(#[from] CanonicalJsonError),
    /// The event's `sender` or `event_id` contains no server name.
    #[error("the event names no server that must sign it")]
    NoServer,
}

/// Signs an object as `server` and adds the signature to `signatures`. It does not cover `signatures` and
/// `unsigned`.
pub fn sign_json(object: &mut Map, server: &str, key: &KeyPair) -> Result<(), CanonicalJsonError> {
    let signed = json_to_sign(object)?;
    add_signature(object, server, key, &signed);
    Ok(())
}

/// Checks that `server` signed an object: there must be a signature of the server with a known key, and every
/// such signature must be right.
///
/// `key` looks up a key of the server by its signing key identifier. Signatures with keys that it does not
/// find are ignored.
pub fn verify_json(
    object: &Map,
    server: &str,
    key: impl Fn(&str) -> Option<PublicKey>,
) -> Result<(), SignatureError> {
    verify_signatures(object, &json_to_sign(object)?, server, key)
}

/// The text that the signature of a request between servers covers. Spec: [Request
/// Authentication](https://spec.matrix.org/v1.19/server-server-api/#request-authentication).
///
/// `content` is the canonical JSON of the body.
pub fn request_to_sign(
    method: &str,
    uri: &str,
    origin: &str,
    destination: &str,
    content: Option<&str>,
) -> String {
    object_text(|request| {
        if let Some(content) = content {
            request.raw("content", content);
        }
        request.value("destination", destination);
        request.value("method", method);
        request.value("origin", origin);
        request.value("uri", uri);
    })
}

/// Sets `hashes` and adds the signature of `server`.
///
/// # Errors
///
/// If the room version requires canonical JSON and the event has none.
pub fn hash_and_sign_event(
    version: &RoomVersion,
    event: &mut Map,
    server: &str,
    key: &KeyPair,
) -> Result<(), CanonicalJsonError> {
    if version.strict_canonical_json {
        canonical_json::check_object(event)?;
    }
    let mut hashes = Map::new();
    hashes.insert("sha256".to_owned(), content_hash(&*event).into());
    event.insert("hashes".to_owned(), hashes.into());
    sign_event(version, event, server, key);
    Ok(())
}

/// Adds the signature of `server` to an event that has its content hash, such as an invite from another
/// server.
pub fn sign_event(version: &RoomVersion, event: &mut Map, server: &str, key: &KeyPair) {
    let signed = signed_json(version, (&*event).into());
    add_signature(event, server, key, &signed);
}

/// As [`sign_event`], with the event's numbers as they stand in its text.
pub fn sign_exactly(version: &RoomVersion, event: &mut ExactObject, server: &str, key: &KeyPair) {
    let signed = signed_json(version, (&*event).into());
    add_signature(&mut event.object, server, key, &signed);
}

/// The result of checking the signatures of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Whether the content hash is right. If not, the event must be redacted before use.
    pub content_hash: bool,
    /// Whether the server of the user in `join_authorised_via_users_server` signed the event. `true` if the
    /// content names no user, or the room version has no restricted joins. Pass it to
    /// [`check_join_authorized_signature`](crate::auth::check_join_authorized_signature).
    pub join_authorized: bool,
}

/// The servers whose signatures an event needs to be accepted, each once. [`verify_event`] looks up their
/// keys.
///
/// These are the sender's server (but not for third-party invites, which the server of the invited user
/// makes), in room versions 1 and 2 also the server in the event id, and the server of the user in
/// `join_authorised_via_users_server`.
pub fn signing_servers<'a>(version: &RoomVersion, event: &'a Map) -> Vec<&'a str> {
    let mut servers: Vec<&str> = Vec::with_capacity(2);
    let needed =
        required_servers(version, event).into_iter().flatten().chain(join_authorized_server(version, event));
    for server in needed {
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    servers
}

/// Checks the signatures of an event and its content hash.
///
/// `key` looks up the public key of a server (first argument) by its signing key identifier (second). If
/// [`RoomVersion::enforce_key_validity`] is set, it must not return keys that had expired at the event's
/// `origin_server_ts`. Signatures with keys that it does not find are ignored; so are those of policy
/// servers.
///
/// # Errors
///
/// If a required signature is missing or wrong: the event must be dropped.
pub fn verify_event<'a>(
    version: &RoomVersion,
    event: impl Into<ExactRef<'a>>,
    key: impl Fn(&str, &str) -> Option<PublicKey>,
) -> Result<Verified, SignatureError> {
    let exact = event.into();
    let signed = signed_json(version, exact);
    let event = exact.object;
    let signed_by = |server: &str| verify_signatures(event, &signed, server, |key_id| key(server, key_id));
    for server in required_servers(version, event).ok_or(SignatureError::NoServer)? {
        signed_by(server)?;
    }
    Ok(Verified {
        content_hash: content_hash_matches(exact),
        join_authorized: join_authorized_server(version, event)
            .is_none_or(|server| signed_by(server).is_ok()),
    })
}

/// Whether `server` signed an event with this key, whatever keys the server has published.
///
/// For policy servers, which sign with the key id `ed25519:policy_server` and the key in the room's
/// `m.room.policy`. Spec: [Validating Policy Server
/// signatures](https://spec.matrix.org/v1.19/server-server-api/#validating-policy-server-signatures).
pub fn event_is_signed_with<'a>(
    version: &RoomVersion,
    event: impl Into<ExactRef<'a>>,
    server: &str,
    key_id: &str,
    key: &PublicKey,
) -> bool {
    let event = event.into();
    event
        .object
        .get("signatures")
        .and_then(|signatures| signatures.get(server)?.get(key_id)?.as_str())
        .is_some_and(|signature| key.verifies(signed_json(version, event).as_bytes(), signature))
}

/// The servers that must have signed an event; `None` if a field that must name a server does not.
fn required_servers<'a>(version: &RoomVersion, event: &'a Map) -> Option<Vec<&'a str>> {
    let server_in = |field| event.get(field).and_then(Value::as_str).and_then(server_name);
    let mut servers = Vec::with_capacity(2);
    if !is_third_party_invite(event) {
        servers.push(server_in("sender")?);
    }
    if version.event_id_in_event() {
        let server = server_in("event_id")?;
        if !servers.contains(&server) {
            servers.push(server);
        }
    }
    Some(servers)
}

/// Whether the event is an invite that redeems an `m.room.third_party_invite`.
fn is_third_party_invite(event: &Map) -> bool {
    event.get("type").and_then(Value::as_str) == Some("m.room.member")
        && event.get("content").is_some_and(|content| {
            content.get("membership").and_then(Value::as_str) == Some("invite")
                && content.get("third_party_invite").is_some_and(Value::is_object)
        })
}

/// The server whose signature the authorization rules require, beside those that every event needs.
fn join_authorized_server<'a>(version: &RoomVersion, event: &'a Map) -> Option<&'a str> {
    if !version.restricted_joins || event.get("type")?.as_str()? != "m.room.member" {
        return None;
    }
    let user = event.get("content")?.get("join_authorised_via_users_server")?;
    // For a value that is no user id, this is the empty server name, which has no signatures.
    Some(user.as_str().and_then(server_name).unwrap_or_default())
}

/// The canonical JSON of an object without `signatures` and `unsigned`.
pub(crate) fn json_to_sign(object: &Map) -> Result<String, CanonicalJsonError> {
    let fields = || {
        object
            .iter()
            .map(|(key, value)| (key.as_str(), value))
            .filter(|(key, _)| !matches!(*key, "signatures" | "unsigned"))
    };
    fields().try_for_each(|(_, value)| canonical_json::check_value(value))?;
    Ok(fields_to_canonical_lenient(fields(), &NumberTexts::default()))
}

fn add_signature(object: &mut Map, server: &str, key: &KeyPair, signed: &str) {
    let mut signatures = take_object(object, "signatures");
    let mut signatures_of_server = take_object(&mut signatures, server);
    signatures_of_server.insert(key.key_id.clone(), key.sign(signed.as_bytes()).into());
    signatures.insert(server.to_owned(), signatures_of_server.into());
    object.insert("signatures".to_owned(), signatures.into());
}

/// Removes the object at `key` and returns it; an empty object if there is none.
fn take_object(parent: &mut Map, key: &str) -> Map {
    match parent.remove(key) {
        Some(Value::Object(object)) => object,
        _ => Map::new(),
    }
}

fn verify_signatures(
    object: &Map,
    signed: &str,
    server: &str,
    key: impl Fn(&str) -> Option<PublicKey>,
) -> Result<(), SignatureError> {
    let signatures =
        object.get("signatures").and_then(|signatures| signatures.get(server)).and_then(Value::as_object);
    let mut known_algorithm = signatures
        .into_iter()
        .flatten()
        .filter(|(key_id, _)| key_id.starts_with(ALGORITHM_PREFIX))
        .peekable();
    if known_algorithm.peek().is_none() {
        return Err(SignatureError::NotSigned { server: server.to_owned() });
    }
    let mut verified = false;
    for (key_id, signature) in known_algorithm {
        let Some(key) = key(key_id) else { continue };
        let right = signature.as_str().is_some_and(|signature| key.verifies(signed.as_bytes(), signature));
        if !right {
            return Err(SignatureError::Wrong { server: server.to_owned(), key_id: key_id.clone() });
        }
        verified = true;
    }
    if verified { Ok(()) } else { Err(SignatureError::NoKnownKey { server: server.to_owned() }) }
}

#[cfg(test)]
mod tests;
