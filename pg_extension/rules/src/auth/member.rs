//! Rule 4 (5 until room version 5 and since 12): membership.

use std::ops::Deref;

use serde_json::Value;

use super::{
    rule::{Rejection, Rule},
    state::{Membership, State},
    third_party_invite,
};
use crate::{
    Event, RoomVersion,
    identifiers::is_user_id,
    power_levels::{LevelName, PowerLevels, creator},
    signature::Verified,
};

/// Since room version 8. Rule 4.2.1: if `content` has a `join_authorised_via_users_server` property, and
/// the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
///
/// Call it for each received event, beside [`check_state_independent`](super::check_state_independent), with
/// the result of [`verify_event`](crate::signature::verify_event). The other rules need no keys.
pub fn check_join_authorized_signature(version: &RoomVersion, verified: Verified) -> Result<(), Rejection> {
    if verified.join_authorized {
        Ok(())
    } else {
        Err(Rejection::new(
            version,
            Rule::MemberNotSignedByAuthorizer,
            "the authorizing user's server did not sign",
        ))
    }
}

/// Rule 4: if type is `m.room.member`, all of its clauses.
pub(super) fn check<E, F>(state: &State<'_, E, F>, event: &Event) -> Result<(), Rejection>
where
    E: Deref<Target = Event>,
    F: Fn(&str, &str) -> Option<E>,
{
    // 4.1. If there is no `state_key` property, or no `membership` property in `content`, reject. The
    // target user is the user given by the `state_key`, so a `state_key` that is no user id counts as absent.
    let target = event.state_key().filter(|state_key| is_user_id(state_key));
    let (Some(target), true) = (target, event.content().contains_key("membership")) else {
        return Err(Rejection::new(state.version, Rule::MemberMalformed, "no target user or no membership"));
    };
    let change = Change { state, event, target };
    match Membership::of(event) {
        Membership::Join => change.check_join(),
        Membership::Invite => change.check_invite(),
        Membership::Leave => change.check_leave(),
        Membership::Ban => change.check_ban(),
        Membership::Knock if state.version.knocking => change.check_knock(),
        // 4.8. Otherwise, the membership is unknown. Reject.
        _ => change.reject(Rule::MembershipUnknown, "there is no such membership"),
    }
}

/// The change of membership that is checked.
struct Change<'a, 'v, E, F> {
    state: &'a State<'v, E, F>,
    event: &'a Event,
    /// The user in the `state_key`.
    target: &'a str,
}

impl<E, F> Change<'_, '_, E, F>
where
    E: Deref<Target = Event>,
    F: Fn(&str, &str) -> Option<E>,
{
    fn reject(&self, rule: Rule, reason: &str) -> Result<(), Rejection> {
        Err(Rejection::new(self.state.version, rule, reason))
    }

    /// 4.3. If `membership` is `join`.
    fn check_join(&self) -> Result<(), Rejection> {
        let version = self.state.version;
        // 4.3.1. If the only previous event is an `m.room.create` and the `state_key` is the creator, allow.
        let mut prev_events = self.event.prev_events();
        if prev_events.next() == Some(self.state.create.event_id())
            && prev_events.next().is_none()
            && creator(version, &self.state.create) == Some(self.target)
        {
            return Ok(());
        }
        // 4.3.2. If the `sender` does not match `state_key`, reject.
        if self.event.sender() != self.target {
            return self.reject(Rule::JoinOfOther, "a user cannot make another user join");
        }
        // 4.3.3. If the `sender` is banned, reject.
        let membership = self.state.membership(self.target);
        if membership == Membership::Ban {
            return self.reject(Rule::JoinBanned, "the user is banned");
        }
        let invited_or_joined = matches!(membership, Membership::Invite | Membership::Join);
        match self.join_rule() {
            // 4.3.4. If the `join_rule` is `invite` or, since room version 7, `knock`, then allow if
            // membership state is `invite` or `join`.
            JoinRule::Invite | JoinRule::Knock if invited_or_joined => Ok(()),
            // 4.3.5. Since room version 8: if the `join_rule` is `restricted` or, since room version 10,
            // `knock_restricted`.
            JoinRule::Restricted | JoinRule::KnockRestricted => {
                // 4.3.5.1. If membership state is `join` or `invite`, allow.
                if invited_or_joined {
                    return Ok(());
                }
                self.check_join_authorized()
            }
            // 4.3.6. If the `join_rule` is `public`, allow.
            JoinRule::Public => Ok(()),
            // 4.3.7. Otherwise, reject.
            _ => self.reject(Rule::JoinOtherwise, "the join rule does not allow it"),
        }
    }

    /// 4.3.5.2. If the `join_authorised_via_users_server` key in `content` is not a user with sufficient
    /// permission to invite other users or is not a joined member of the room, reject. 4.3.5.3. Otherwise,
    /// allow.
    fn check_join_authorized(&self) -> Result<(), Rejection> {
        let authorizer = self.event.content().get("join_authorised_via_users_server").and_then(Value::as_str);
        let Some(authorizer) = authorizer else {
            return self.reject(Rule::JoinNotAuthorized, "no member authorized the join");
        };
        if !self.state.membership(authorizer).is_join() {
            return self.reject(Rule::JoinNotAuthorized, "the authorizing user is not in the room");
        }
        let may_invite = self.with_levels(Rule::JoinNotAuthorized, |levels| {
            Ok(levels.user_level(authorizer)?.reaches(levels.level(LevelName::Invite)?))
        })?;
        if may_invite {
            Ok(())
        } else {
            self.reject(Rule::JoinNotAuthorized, "the authorizing user may not invite")
        }
    }

    /// 4.4. If `membership` is `invite`.
    fn check_invite(&self) -> Result<(), Rejection> {
        // 4.4.1. If `content` has a `third_party_invite` property.
        if let Some(third_party_invite) = self.event.content().get("third_party_invite") {
            return third_party_invite::check(self.state, self.event, self.target, third_party_invite);
        }
        // 4.4.2. If the `sender`'s current membership state is not `join`, reject.
        if !self.state.membership(self.event.sender()).is_join() {
            return self.reject(Rule::InviteSenderNotJoined, "the sender is not in the room");
        }
        // 4.4.3. If target user's current membership state is `join` or `ban`, reject.
        match self.state.membership(self.target) {
            Membership::Join => {
                let reason = format!("{} is already in the room", self.target);
                return self.reject(Rule::InviteTarget, &reason);
            }
            Membership::Ban => {
                let reason = format!("{} is banned from the room", self.target);
                return self.reject(Rule::InviteTarget, &reason);
            }
            _ => {}
        }
        // 4.4.4. If the `sender`'s power level is greater than or equal to the invite level, allow.
        // 4.4.5. Otherwise, reject.
        let may_invite = self.with_levels(Rule::InviteOtherwise, |levels| {
            Ok(levels.user_level(self.event.sender())?.reaches(levels.level(LevelName::Invite)?))
        })?;
        if may_invite {
            Ok(())
        } else {
            self.reject(Rule::InviteOtherwise, "the sender's power level is too low to invite")
        }
    }

    /// 4.5. If `membership` is `leave`.
    fn check_leave(&self) -> Result<(), Rejection> {
        let sender_membership = self.state.membership(self.event.sender());
        // 4.5.1. If the `sender` matches `state_key`, allow if and only if that user's current membership
        // state is `invite`, `join` or, since room version 7, `knock`.
        if self.event.sender() == self.target {
            return match sender_membership {
                Membership::Invite | Membership::Join => Ok(()),
                Membership::Knock if self.state.version.knocking => Ok(()),
                _ => self.reject(Rule::LeaveNotIn, "the user is not in the room"),
            };
        }
        // 4.5.2. If the `sender`'s current membership state is not `join`, reject.
        if !sender_membership.is_join() {
            return self.reject(Rule::LeaveSenderNotJoined, "the sender is not in the room");
        }
        // 4.5.3. If the target user's current membership state is `ban`, and the `sender`'s power level is
        // less than the ban level, reject.
        if self.state.membership(self.target) == Membership::Ban {
            let may_ban = self.with_levels(Rule::LeaveUnban, |levels| {
                Ok(levels.user_level(self.event.sender())?.reaches(levels.level(LevelName::Ban)?))
            })?;
            if !may_ban {
                return self.reject(Rule::LeaveUnban, "the sender's power level is too low to lift a ban");
            }
        }
        // 4.5.4. If the `sender`'s power level is greater than or equal to the kick level, and the target
        // user's power level is less than the `sender`'s power level, allow. 4.5.5. Otherwise, reject.
        self.check_power_over_target(LevelName::Kick, Rule::LeaveOtherwise)
    }

    /// 4.6. If `membership` is `ban`.
    fn check_ban(&self) -> Result<(), Rejection> {
        // 4.6.1. If the `sender`'s current membership state is not `join`, reject.
        if !self.state.membership(self.event.sender()).is_join() {
            return self.reject(Rule::BanSenderNotJoined, "the sender is not in the room");
        }
        // 4.6.2. If the `sender`'s power level is greater than or equal to the ban level, and the target
        // user's power level is less than the `sender`'s power level, allow. 4.6.3. Otherwise, reject.
        self.check_power_over_target(LevelName::Ban, Rule::BanOtherwise)
    }

    /// 4.7. Since room version 7: if `membership` is `knock`.
    fn check_knock(&self) -> Result<(), Rejection> {
        // 4.7.1. If the `join_rule` is anything other than `knock` or, since room version 10,
        // `knock_restricted`, reject.
        if !matches!(self.join_rule(), JoinRule::Knock | JoinRule::KnockRestricted) {
            return self.reject(Rule::KnockJoinRule, "the join rule does not allow to knock");
        }
        // 4.7.2. If `sender` does not match `state_key`, reject.
        if self.event.sender() != self.target {
            return self.reject(Rule::KnockOfOther, "a user cannot make another user knock");
        }
        // 4.7.3. If the `sender`'s current membership is not `ban`, `invite`, or `join`, allow. 4.7.4.
        // Otherwise, reject.
        match self.state.membership(self.target) {
            Membership::Ban | Membership::Invite | Membership::Join => {
                self.reject(Rule::KnockOtherwise, "the user is in the room, invited or banned")
            }
            _ => Ok(()),
        }
    }

    /// Allows the change if the sender's power level reaches the needed one and is greater than the target's.
    fn check_power_over_target(&self, needed: LevelName, rule: Rule) -> Result<(), Rejection> {
        let suffices = self.with_levels(rule, |levels| {
            let sender = levels.user_level(self.event.sender())?;
            Ok(sender.reaches(levels.level(needed)?) && levels.user_level(self.target)? < sender)
        })?;
        if suffices { Ok(()) } else { self.reject(rule, "the sender's power level is too low") }
    }

    /// Calls `ask` with the power levels. Rejects by this rule if it needs a level that cannot be read.
    fn with_levels<T>(
        &self,
        rule: Rule,
        ask: impl FnOnce(&PowerLevels<'_>) -> Result<T, crate::power_levels::MalformedLevel>,
    ) -> Result<T, Rejection> {
        let event = self.state.power_levels_event();
        let levels = PowerLevels::new(self.state.version, &self.state.create, event.as_deref());
        ask(&levels).map_err(Rejection::because(self.state.version, rule))
    }

    /// The room's join rule; `invite` if the state has none.
    fn join_rule(&self) -> JoinRule {
        let version = self.state.version;
        let Some(join_rules) = self.state.join_rules_event() else {
            return JoinRule::Invite;
        };
        match join_rules.content().get("join_rule").and_then(Value::as_str) {
            Some("public") => JoinRule::Public,
            Some("invite") => JoinRule::Invite,
            Some("knock") if version.knocking => JoinRule::Knock,
            Some("restricted") if version.restricted_joins => JoinRule::Restricted,
            Some("knock_restricted") if version.knock_restricted_joins => JoinRule::KnockRestricted,
            _ => JoinRule::Other,
        }
    }
}

/// The join rules that the room version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum JoinRule {
    Public,
    Invite,
    Knock,
    Restricted,
    KnockRestricted,
    /// An unknown join rule: no user can join.
    Other,
}
