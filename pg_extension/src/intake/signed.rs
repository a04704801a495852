//! Taking in events of this server that were made before, and signed by the room's policy server since.

use matriarch_rules::Event;
use matriarch_wire::Verdict;

use crate::{
    base::response::{MatrixError, Result},
    intake,
    room::Room,
};

/// What was made before somebody left, or was sent away, does not undo it.
fn check_membership(room: &mut Room<'_>, event: &Event) -> Result<()> {
    let member = event.state_key().filter(|_| event.event_type() == "m.room.member");
    let Some((membership, current)) = member.and_then(|member| room.membership(member)) else {
        return Ok(());
    };
    let is_cited = event.auth_events().any(|event_id| event_id == current.event.event_id());
    if is_cited || membership == "join" {
        Ok(())
    } else {
        Err(MatrixError::forbidden("The user's membership has changed meanwhile."))
    }
}

/// Takes in an event of this server that was made before, and signed by the room's policy server since; the
/// room, if its members are to be woken.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` if the room does not admit it any more.
pub fn append_signed(room: &mut Room<'_>, event: &str, parsed: &Event) -> Result<Option<i64>> {
    if !room.signer.is_ours(parsed.sender()) {
        return Err(MatrixError::forbidden("The event is not of this server."));
    }
    check_membership(room, parsed)?;
    let (verdict, wake_room) = intake::take_one(room, event);
    if matches!(verdict, Verdict::Accepted) {
        return Ok(wake_room);
    }
    let reason = verdict.reason().unwrap_or("the room's policy server did not sign it");
    Err(MatrixError::forbidden(format!("The room does not admit the event: {reason}.")))
}
