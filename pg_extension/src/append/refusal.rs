//! What users are told if the authorization rules reject their event. The rules' numbers are for developers:
//! they are in the log of the database, and in `matrix.check_auth`.

use matriarch_rules::{Event, Rejection, auth::Rule};

use crate::base::response::MatrixError;

/// 403 `M_FORBIDDEN` for an event that the rules reject.
pub fn refusal(event: &Event, rejection: &Rejection) -> MatrixError {
    pgrx::debug1!("refused {} of {}: {rejection}", event.event_type(), event.sender());
    MatrixError::forbidden(words(event, rejection))
}

/// The reason as a sentence to the sender. Bridges recognize "is already in the room" and "is banned from the
/// room".
fn words(event: &Event, rejection: &Rejection) -> String {
    let text = match rejection.cause {
        Rule::JoinBanned => "You are banned from this room.",
        Rule::JoinOtherwise => "You are not invited to this room.",
        Rule::JoinNotAuthorized => "You are in none of the rooms whose members may join this room.",
        Rule::KnockJoinRule => "This room does not accept knocks.",
        Rule::KnockOtherwise => "You are in this room, invited to it or banned from it.",
        Rule::InviteSenderNotJoined
        | Rule::LeaveNotIn
        | Rule::LeaveSenderNotJoined
        | Rule::BanSenderNotJoined
        | Rule::SenderNotJoined => "You are not in this room.",
        Rule::InviteOtherwise | Rule::ThirdPartyInviteLevel => {
            "You do not have permission to invite users to this room."
        }
        Rule::LeaveUnban => "You do not have permission to lift bans in this room.",
        Rule::LeaveOtherwise => "You do not have permission to remove this user from the room.",
        Rule::BanOtherwise => "You do not have permission to ban this user from the room.",
        Rule::RequiredPowerLevel => {
            return format!("You do not have permission to send {} events to this room.", event.event_type());
        }
        Rule::Redaction => "You do not have permission to redact this event.",
        Rule::NotFederated => "This room is not open to users of other servers.",
        _ => return sentence(&rejection.reason),
    };
    text.to_owned()
}

/// The same text with a capital at its start and a full stop at its end.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    rest.next().map(|first| format!("{}{}.", first.to_uppercase(), rest.as_str())).unwrap_or_default()
}
