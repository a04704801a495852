//! Intake of local events that the room's policy server has signed.

use matriarch_rules::Event;
use matriarch_wire::Verdict;

use crate::{
    base::response::{MatrixError, Result},
    intake,
    room::Room,
};

/// A member event that was made before the membership changed must not undo the change.
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

/// Intake of a local event that the room's policy server has signed. Returns the room if its members are to
/// be woken.
///
/// # Errors
///
/// 403 `M_FORBIDDEN` if the room does not allow the event any more.
pub fn append_signed(room: &mut Room<'_>, event: &str, parsed: &Event) -> Result<Option<i64>> {
    if !room.signer.is_local(parsed.sender()) {
        return Err(MatrixError::forbidden("The sender of the event is not on this server."));
    }
    check_membership(room, parsed)?;
    let (verdict, wake_room) = intake::receive_one(room, event);
    if matches!(verdict, Verdict::Accepted) {
        return Ok(wake_room);
    }
    let reason = verdict.reason().unwrap_or("the room's policy server did not sign it");
    Err(MatrixError::forbidden(format!("The room does not allow the event: {reason}.")))
}
