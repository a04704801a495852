//! The policy server that a room uses. Server-Server API, "Policy Servers".

use matriarch_rules::{
    Event, RoomVersion,
    identifiers::is_server_name,
    signature::{PublicKey, event_is_signed_with},
};
use matriarch_wire::Unsigned;
use serde_json::json;

use crate::{
    base::response::{MatrixError, Result},
    room::Room,
};

/// The key id of every policy server's signature, as the specification requires.
const KEY_ID: &str = "ed25519:policy_server";

/// A room's policy server.
#[derive(Debug, Clone)]
pub struct PolicyServer {
    /// Its server name.
    pub via: String,
    key: PublicKey,
}

impl PolicyServer {
    /// Whether the policy server has signed the event, or need not.
    pub fn recommends(&self, version: &RoomVersion, event: &Event) -> bool {
        event.is("m.room.policy", "")
            || event_is_signed_with(version, event.json(), &self.via, KEY_ID, &self.key)
    }
}

impl Room<'_> {
    /// The room's policy server, if the room uses one: `m.room.policy` must name it with its key, and it must
    /// have a user in the room. A room that names this server uses none.
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

    /// [`MatrixError::sign_first`] with the event, if the policy server is to sign it before it is appended.
    pub(crate) fn check_policy(&mut self, event: &Event, transaction: Option<(i64, &str)>) -> Result<()> {
        match self.policy_server() {
            Some(policy) if !policy.recommends(self.version, event) => {
                let (device_nid, txn_id) = transaction.unzip();
                Err(MatrixError::sign_first(Unsigned {
                    policy_server: policy.via,
                    room_id: self.id.clone(),
                    event_id: event.event_id().to_owned(),
                    event: event.json().clone(),
                    device_nid,
                    txn_id: txn_id.map(str::to_owned),
                    answer: json!({}),
                    created_at: None,
                }))
            }
            _ => Ok(()),
        }
    }
}
