//! Invites by third-party id. Client-Server API, "Third-party invites".

use matriarch_rules::Map;
use serde_json::{Value, json};

use crate::{
    append::LocalEvent,
    response::{MatrixError, Result},
    room::Room,
    users::{self, User},
};

/// The answer to who wants to invite an address.
pub fn refuse_invite() -> MatrixError {
    let error = "This server asks no identity server, so it cannot invite by third-party id.";
    MatrixError::new(403, "M_SERVER_NOT_TRUSTED", error)
}

impl Room<'_> {
    /// Invites the user in the name of who made the room's `m.room.third_party_invite`, by what the identity server
    /// signed; the join then follows.
    ///
    /// # Errors
    ///
    /// 403 `M_FORBIDDEN` if there is no such invite of a user of ours, or the signature does not prove it.
    pub(super) fn accept_third_party_invite(&mut self, user: &User, signed: &Map) -> Result<()> {
        let token = signed.get("token").and_then(Value::as_str).unwrap_or_default();
        let unknown =
            || MatrixError::forbidden("There is no third-party invite with this token in the room.");
        if token.contains('\0') {
            return Err(unknown());
        }
        let invite = self.state("m.room.third_party_invite", token).ok_or_else(unknown)?.event;
        if !self.signer.is_ours(invite.sender()) {
            return Err(MatrixError::forbidden("The third-party invite was made on another server."));
        }
        let inviter_id = invite.sender().to_owned();
        let inviter = User { nid: users::intern(self.db, &[&inviter_id])[&inviter_id], id: inviter_id };
        let display_name = invite.content().get("display_name").cloned().unwrap_or_default();
        let mut content = Map::new();
        content.insert("membership".to_owned(), "invite".into());
        let third_party_invite = json!({ "display_name": display_name, "signed": signed });
        content.insert("third_party_invite".to_owned(), third_party_invite);
        self.append(LocalEvent::state(&inviter, "m.room.member", &user.id, content))?;
        Ok(())
    }
}
