//! Checks that need the PDU alone: its format, its signatures and its content hash.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use matriarch_rules::{
    Event, RoomVersion,
    event::FormatError,
    json::{JsonError, parse_pdu},
    redaction::redact_exactly,
    signature::{PublicKey, SignatureError, Verified, signing_servers, verify_event},
};
use matriarch_wire::Needs;

use crate::base::{signing::Signer, spi::Db};

/// An event with valid signatures.
pub struct Pdu {
    pub event: Event,
    /// The JSON to store: canonical, without `unsigned`, and redacted if the content hash is wrong.
    pub json: String,
    pub verified: Verified,
}

/// Why a PDU is not a [`Pdu`].
pub enum Unfit {
    /// It is dropped, for this reason.
    Refused(String),
    Needs(Needs),
}

/// Why a text is no PDU of the room.
#[derive(Debug)]
pub struct Malformed {
    reason: String,
    /// Whether it breaks the rules of JSON, or of the canonical JSON that the room version demands.
    pub is_bad_json: bool,
}

impl Malformed {
    fn format(reason: &str) -> Self {
        Self { reason: reason.to_owned(), is_bad_json: false }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl From<JsonError> for Malformed {
    fn from(error: JsonError) -> Self {
        Self { reason: error.to_string(), is_bad_json: true }
    }
}

impl From<FormatError> for Malformed {
    fn from(error: FormatError) -> Self {
        Self { is_bad_json: matches!(error, FormatError::NotCanonical(_)), reason: error.to_string() }
    }
}

/// Checks the format of a PDU, and computes its event id.
pub fn parse(version: &RoomVersion, room_id: &str, pdu: &str) -> Result<Event, Malformed> {
    let mut json = parse_pdu(pdu)?;
    json.object.remove("unsigned");
    let event = Event::from_pdu(version, json)?;
    if event.room_id() != Some(room_id) {
        return Err(Malformed::format("the event is of another room"));
    }
    let has_nul = |text: &str| text.contains('\0');
    if has_nul(event.event_type())
        || event.state_key().is_some_and(has_nul)
        || has_nul(event.event_id())
        || event.redacts(version).is_some_and(has_nul)
        || event.prev_events().chain(event.auth_events()).any(has_nul)
    {
        return Err(Malformed::format("an identifier, the type or the state key has U+0000"));
    }
    Ok(event)
}

/// A published signing key.
struct ServerKey {
    key: PublicKey,
    valid_until_ts: i64,
    expired: bool,
}

/// The signing keys of the servers that signed a batch of events.
pub struct Keys {
    by_id: HashMap<(String, String), ServerKey>,
    /// Servers of which the caller cannot obtain keys, or no newer ones.
    given_up: BTreeSet<String>,
    own_server: String,
}

const OF_SERVERS: &str = "
    select k.server_name, k.key_id, k.public_key, k.valid_until_ts, k.expired
    from unnest($1) as wanted (server_name)
    cross join lateral (select * from server_keys where server_name = wanted.server_name offset 0) k";

const OWN: &str = "
    select key_id, seed, (extract(epoch from expired_at) * 1000)::bigint as expired_ts from signing_keys";

impl Keys {
    /// Reads the keys for these events in one query, and adds this server's own.
    pub fn load<'e>(
        db: &Db<'_>,
        version: &RoomVersion,
        events: impl Iterator<Item = &'e Event>,
        given_up: BTreeSet<String>,
    ) -> Self {
        let own = Signer::current(db);
        let servers: BTreeSet<&str> = events
            .flat_map(|event| signing_servers(version, event.json()))
            .filter(|server| !server.contains('\0'))
            .collect();
        let mut by_id = HashMap::new();
        if servers.contains(own.server_name.as_str()) {
            for row in db.query(OWN, &[]) {
                let key_id: String = row.get("key_id");
                let key = Signer::key_of_seed(&key_id, &row.get::<Vec<u8>>("seed")).public_key();
                let expired_ts: Option<i64> = row.opt("expired_ts");
                let valid_until_ts = expired_ts.unwrap_or(i64::MAX);
                let key = ServerKey { key, valid_until_ts, expired: expired_ts.is_some() };
                by_id.insert((own.server_name.clone(), key_id), key);
            }
        }
        let servers: Vec<&str> = servers.into_iter().filter(|server| *server != own.server_name).collect();
        if !servers.is_empty() {
            for row in db.query(OF_SERVERS, &[servers.into()]) {
                if let Ok(key) = PublicKey::from_base64(row.get("public_key")) {
                    let key = ServerKey {
                        key,
                        valid_until_ts: row.get("valid_until_ts"),
                        expired: row.get("expired"),
                    };
                    by_id.insert((row.get("server_name"), row.get("key_id")), key);
                }
            }
        }
        Self { by_id, given_up, own_server: own.server_name.clone() }
    }

    /// Checks the signatures and the content hash of an event by the known keys.
    pub fn check(&self, version: &RoomVersion, event: &Event) -> Result<Verified, String> {
        let sent_at = event.origin_server_ts();
        let find = |server: &str, key_id: &str| {
            let key = self.by_id.get(&(server.to_owned(), key_id.to_owned()))?;
            (!version.enforce_key_validity || sent_at <= key.valid_until_ts).then(|| key.key.clone())
        };
        verify_event(version, event.exact(), find).map_err(|error| error.to_string())
    }

    /// Like [`Keys::check`], by all known keys, whether or not they were valid when the event was made: a
    /// server may have published that a key expired after the event went through intake.
    pub fn check_at_any_time(
        &self,
        version: &RoomVersion,
        event: &Event,
    ) -> Result<Verified, SignatureError> {
        verify_event(version, event.exact(), |server, key_id| {
            self.by_id.get(&(server.to_owned(), key_id.to_owned())).map(|key| key.key.clone())
        })
    }

    /// Whether no key is missing that the check of the signatures needs.
    pub fn knows(&self, version: &RoomVersion, event: &Event) -> bool {
        self.needed(version, event).is_empty()
    }

    /// The event, if its signatures are valid, in the form that its content hash requires.
    pub fn verify(&self, version: &RoomVersion, event: Event) -> Result<Pdu, Unfit> {
        let needed = self.needed(version, &event);
        if !needed.is_empty() {
            return Err(Unfit::Needs(Needs { keys: needed, ..Needs::default() }));
        }
        let verified = self.check(version, &event).map_err(Unfit::Refused)?;
        if verified.content_hash {
            let json = event.exact().to_canonical();
            return Ok(Pdu { event, json, verified });
        }
        let event_id = event.event_id().to_owned();
        let redacted = redact_exactly(version, event.into_exact());
        let json = redacted.to_canonical();
        Ok(Pdu { event: Event::new(event_id, redacted), json, verified })
    }

    /// The keys that may still be obtained, of servers that must sign and of which no usable key signed.
    fn needed(&self, version: &RoomVersion, event: &Event) -> Vec<(String, String)> {
        let mut needed = Vec::new();
        for server in signing_servers(version, event.json()) {
            if self.given_up.contains(server) || server == self.own_server {
                continue;
            }
            let signatures = event.json().get("signatures").and_then(|all| all.get(server)?.as_object());
            let key_ids: Vec<&String> =
                signatures.into_iter().flat_map(|of_server| of_server.keys()).collect();
            let usable = |key_id: &&&String| {
                self.by_id.get(&(server.to_owned(), (**key_id).clone())).is_some_and(|key| {
                    // The validity of an expired key does not grow.
                    !version.enforce_key_validity
                        || key.expired
                        || event.origin_server_ts() <= key.valid_until_ts
                })
            };
            if key_ids.iter().filter(usable).count() == 0 {
                needed.extend(
                    key_ids
                        .into_iter()
                        .filter(|key_id| key_id.starts_with("ed25519:"))
                        .map(|key_id| (server.to_owned(), key_id.clone())),
                );
            }
        }
        needed
    }
}
