//! Checks whether a local user may redact an event.

use matriarch_rules::{power_levels::LevelName, redaction::redact_content, server_acl};

use crate::{
    base::{
        response::{MatrixError, Result},
        users::User,
    },
    room::{Room, redaction::Target},
};

const HAS_GAPS: &str = "select from missing_prev_events where room_nid = $1 limit 1";

/// Finds the target of a redaction, and checks that the local user may redact it. If the room has gaps, the
/// API node looks for a missing target at other servers.
///
/// Since room version 3 the authorization rules do not check this. Users may redact their own events, and
/// with the `redact` level those of others (Client-Server API, "Redactions").
pub fn target_of(room: &mut Room<'_>, sender: &User, event_id: &str) -> Result<Target> {
    // Users who are not in the room must not learn which events it has.
    if !room.is_joined(&sender.id) {
        return Err(MatrixError::forbidden("You are not in this room."));
    }
    room.write_events();
    let Some(target) = Target::find(room, event_id) else {
        let unknown = MatrixError::not_found("The event to redact is not in this room.");
        let has_gaps = room.db.query_opt(HAS_GAPS, &[room.nid.into()]).is_some();
        return Err(if has_gaps { unknown.or_elsewhere() } else { unknown });
    };
    if target.event().sender() != sender.id
        && !room.power_levels(|levels| levels.may(&sender.id, LevelName::Redact)).unwrap_or(false)
    {
        return Err(MatrixError::forbidden("You may not redact the events of others in this room."));
    }
    check_server_acl(room, &target)?;
    Ok(target)
}

/// Redaction takes away what the current access control list of servers allows. Like a list that denies this
/// server, that could not be undone.
fn check_server_acl(room: &mut Room<'_>, target: &Target) -> Result<()> {
    let event = target.event();
    if !event.is("m.room.server_acl", "") {
        return Ok(());
    }
    let is_current = room.state("m.room.server_acl", "").is_some_and(|acl| acl.nid == target.nid());
    let left = redact_content(room.version, event.event_type(), event.content().clone());
    if is_current && !server_acl::admits(&left, &room.signer.server_name) {
        return Err(MatrixError::forbidden(
            "Without this m.room.server_acl, your own server would be denied.",
        ));
    }
    Ok(())
}
