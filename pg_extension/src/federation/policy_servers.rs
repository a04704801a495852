//! Policy servers, which recommend events by signing them. Server-Server API, "Policy Servers".
//!
//! What users of this server send to a room that uses one is not appended before it is signed: the answer to the request is then the event
//! as it would be (status 428), the API node has it signed, and [`append_signed`] takes it in. What follows from a request, but is not what
//! it asks for, is signed after it is answered (status 202). Events of other servers without signature are soft-failed, after they
//! were asked for once more.

use matriarch_rules::{
    Event, RoomVersion,
    identifiers::is_server_name,
    signature::{PublicKey, event_is_signed_with},
};
use pgrx::pg_extern;
use serde_json::{Value, json};

use crate::{
    append::LocalEvent,
    base::{
        response::{MatrixError, Response, ResponseRows, respond},
        spi::{Db, Mode},
    },
    intake::{self, Verdict},
    room::Room,
};

/// 428 Precondition Required: the node is to have the event in the answer signed. Never seen outside.
const NEEDS_SIGNATURE: i16 = 428;

/// Policy servers sign by this key id whatever the key.
const KEY_ID: &str = "ed25519:policy_server";

/// The policy server that a room uses.
#[derive(Debug, Clone)]
pub struct PolicyServer {
    /// Its server name.
    pub via: String,
    key: PublicKey,
}

impl PolicyServer {
    /// Whether an event needs no signature, or has it.
    pub fn recommends(&self, version: &RoomVersion, event: &Event) -> bool {
        event.is("m.room.policy", "")
            || event_is_signed_with(version, event.json(), &self.via, KEY_ID, &self.key)
    }
}

impl Room<'_> {
    /// The policy server that the room uses: one that is named with its key, and has a user in the room. This server is none, so
    /// that a room which names it uses none.
    pub fn policy_server(&mut self) -> Option<PolicyServer> {
        if self.header.other_servers == 0 {
            return None;
        }
        let policy = self.state("m.room.policy", "")?.event;
        let via = policy.content().get("via")?.as_str()?;
        let key = policy.content().get("public_keys")?.get("ed25519")?.as_str()?;
        let key = PublicKey::from_base64(key).ok()?;
        let is_other = is_server_name(via) && via != self.signer.server_name;
        (is_other && self.has_joined_member_of(via)).then(|| PolicyServer { via: via.to_owned(), key })
    }

    /// Status 428 with the event, if the policy server is to sign it before it is appended.
    pub(crate) fn check_policy(
        &mut self,
        event: &Event,
        transaction: Option<(i64, &str)>,
    ) -> Result<(), MatrixError> {
        match self.policy_server() {
            Some(policy) if !policy.recommends(self.version, event) => {
                let reason = "The room's policy server must sign the event.";
                let (device_nid, txn_id) = transaction.unzip();
                Err(MatrixError::new(NEEDS_SIGNATURE, "M_FORBIDDEN", reason)
                    .with("policy_server", policy.via)
                    .with("room_id", self.id.as_str())
                    .with("event_id", event.event_id())
                    .with("event", event.json().clone())
                    .with("device_nid", device_nid)
                    .with("txn_id", txn_id)
                    .with("answer", json!({})))
            }
            _ => Ok(()),
        }
    }

    /// Appends an event that the request does not depend on. Where the policy server is to sign it first, it follows when that has
    /// happened, if it does; [`Room::answer`] has the API node see to it.
    pub fn append_once_signed(&mut self, local: LocalEvent<'_>) -> Result<(), MatrixError> {
        match self.append(local) {
            Err(error) if error.needs_signature() => {
                self.unsigned.push(error.extra.into());
                Ok(())
            }
            appended => appended.map(|_| ()),
        }
    }

    /// What was made before somebody left, or was sent away, does not undo it.
    fn check_membership(&mut self, event: &Event) -> Result<(), MatrixError> {
        let member = event.state_key().filter(|_| event.event_type() == "m.room.member");
        let Some((membership, current)) = member.and_then(|member| self.membership(member)) else {
            return Ok(());
        };
        let is_cited = event.auth_events().any(|event_id| event_id == current.event.event_id());
        match is_cited || membership == "join" {
            true => Ok(()),
            false => Err(MatrixError::forbidden("The user's membership has changed meanwhile.")),
        }
    }

    /// Takes in an event of this server that was made before, and signed by the room's policy server since; the room, if its
    /// members are to be woken.
    ///
    /// # Errors
    ///
    /// 403 `M_FORBIDDEN` if the room does not admit it any more.
    pub fn append_signed(&mut self, event: &str, parsed: &Event) -> Result<Option<i64>, MatrixError> {
        if !self.signer.is_ours(parsed.sender()) {
            return Err(MatrixError::forbidden("The event is not of this server."));
        }
        self.check_membership(parsed)?;
        let (verdict, wake_room) = intake::take_one(self, event);
        if matches!(verdict, Verdict::Accepted) {
            return Ok(wake_room);
        }
        let reason = verdict.reason().unwrap_or("the room's policy server did not sign it");
        Err(MatrixError::forbidden(format!("The room does not admit the event: {reason}.")))
    }
}

impl MatrixError {
    /// Says how the request is to be answered when the event that it makes was signed and appended, if not by `{}`.
    pub fn or_answer(self, answer: Value) -> Self {
        if self.needs_signature() { self.with("answer", answer) } else { self }
    }

    /// Whether a policy server is to sign an event first.
    pub fn needs_signature(&self) -> bool {
        self.status == NEEDS_SIGNATURE
    }
}

const SENT: &str = "
    select from events where device_nid = $1 and txn_id = $2 and room_nid = $3 and type = $4";

const SET_TRANSACTION: &str = "
    update events set device_nid = $2, txn_id = $3 where event_id = $1 and device_nid is null";

/// Appends an event of this server that was made before, and signed by the room's policy server since.
///
/// `device_nid` and `txn_id` are those of the request, NULL where it has none. 403 `M_FORBIDDEN` if the room admits the event no more.
#[pg_extern(volatile)]
fn append_signed(room_id: &str, event: &str, device_nid: Option<i64>, txn_id: Option<&str>) -> ResponseRows {
    respond(Mode::Write, |db| {
        Room::with(db, room_id, |room| take(db, room, event, device_nid.zip(txn_id)))
            .unwrap_or_else(|| Err(MatrixError::not_found("The room is not known.")))
    })
}

fn take(
    db: &Db<'_>,
    room: &mut Room<'_>,
    event: &str,
    transaction: Option<(i64, &str)>,
) -> Result<Response, MatrixError> {
    let parsed = intake::parse(room.version, &room.id, event).map_err(MatrixError::invalid_param)?;
    if let Some((device_nid, txn_id)) = transaction {
        let args = [device_nid.into(), txn_id.into(), room.nid.into(), parsed.event_type().into()];
        if db.query_opt(SENT, &args).is_some() {
            return Err(MatrixError::new(409, "M_UNKNOWN", "The event was sent already."));
        }
    }
    let wake_room = room.append_signed(event, &parsed)?;
    if let Some((device_nid, txn_id)) = transaction {
        db.execute(SET_TRANSACTION, &[parsed.event_id().into(), device_nid.into(), txn_id.into()]);
    }
    let mut response = Response::empty();
    response.wake_rooms.extend(wake_room);
    response.wake_users = std::mem::take(&mut room.wake_users);
    Ok(response)
}
