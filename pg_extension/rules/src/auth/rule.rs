//! Names for the rules that reject, their numbers in each version of the text, and rejections.

use crate::{RoomVersion, power_levels::MalformedLevel, room_version::AuthRulesText};

/// A rule of the authorization rules that rejects events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A create event has `prev_events`.
    CreatePrevEvents,
    /// A create event's room id names another server than the sender's, or it has a room id although it must
    /// not.
    CreateRoomId,
    /// A create event's room version is not a recognized one.
    CreateRoomVersion,
    /// A create event has no `creator`.
    CreateCreator,
    /// A create event's `additional_creators` is not an array of user ids.
    CreateAdditionalCreators,
    /// The room id is not the id of an accepted create event.
    RoomIdOfCreateEvent,
    /// One of the `auth_events` is unknown.
    AuthEvents,
    /// Two `auth_events` have the same type and state key.
    AuthEventsDuplicate,
    /// One of the `auth_events` is not one that the auth events selection gives for this event.
    AuthEventsNotSelected,
    /// One of the `auth_events` was rejected.
    AuthEventsRejected,
    /// No create event is among the `auth_events`.
    AuthEventsNoCreate,
    /// One of the `auth_events` belongs to another room.
    AuthEventsOtherRoom,
    /// The room is not federated and the sender is on another server than its creator, or the room has no
    /// create event.
    NotFederated,
    /// An `m.room.aliases` without `state_key`.
    AliasesNoStateKey,
    /// An `m.room.aliases` for another server.
    AliasesOtherServer,
    /// A member event without `state_key` or `membership`.
    MemberMalformed,
    /// The server of the user in `join_authorised_via_users_server` did not sign.
    MemberNotSignedByAuthorizer,
    /// Making another user join.
    JoinOfOther,
    /// Joining while banned.
    JoinBanned,
    /// Joining a restricted room without being authorized by a member.
    JoinNotAuthorized,
    /// Joining although the join rule does not allow it.
    JoinOtherwise,
    /// Third-party invite: the target is banned.
    ThirdPartyBanned,
    /// Third-party invite: `signed` is missing.
    ThirdPartyNotSigned,
    /// Third-party invite: `mxid` or `token` is missing.
    ThirdPartyMalformed,
    /// Third-party invite: `mxid` is not the `state_key`.
    ThirdPartyOtherUser,
    /// Third-party invite: the state has no `m.room.third_party_invite` with this token.
    ThirdPartyUnknownToken,
    /// Third-party invite: another user sent the `m.room.third_party_invite`.
    ThirdPartyOtherSender,
    /// Third-party invite: no signature matches a public key.
    ThirdPartyOtherwise,
    /// Inviting without being joined.
    InviteSenderNotJoined,
    /// Inviting a joined or banned user.
    InviteTarget,
    /// Inviting without the required power level.
    InviteOtherwise,
    /// Leaving without being joined, invited or knocking.
    LeaveNotIn,
    /// Kicking without being joined.
    LeaveSenderNotJoined,
    /// Lifting a ban without the required power level.
    LeaveUnban,
    /// Kicking without the required power level.
    LeaveOtherwise,
    /// Banning without being joined.
    BanSenderNotJoined,
    /// Banning without the required power level.
    BanOtherwise,
    /// Knocking although the join rule does not allow it.
    KnockJoinRule,
    /// Making another user knock.
    KnockOfOther,
    /// Knocking while banned, invited or joined.
    KnockOtherwise,
    /// A membership that the room version does not have.
    MembershipUnknown,
    /// Sending an event without being joined.
    SenderNotJoined,
    /// Making a third-party invite without the required power level.
    ThirdPartyInviteLevel,
    /// Sending an event without the required power level.
    RequiredPowerLevel,
    /// The `state_key` is another user's id.
    StateKeyOfOther,
    /// A level is not an integer.
    LevelsNotIntegers,
    /// `events` or `notifications` is not an object of integers.
    LevelMapsNotIntegers,
    /// `users` is not an object from user ids to integers.
    LevelUsersMalformed,
    /// `users` names a creator.
    LevelUsersCreator,
    /// Changing a level that is greater than one's own.
    LevelCurrent,
    /// Changing a level to one greater than one's own.
    LevelNew,
    /// Changing an entry of `events` or `notifications` that is greater than one's own level.
    LevelEventsCurrent,
    /// Changing an entry of `events` or `notifications` to a level greater than one's own.
    LevelEventsNew,
    /// Changing another user's level that is not less than one's own.
    LevelUsersCurrent,
    /// Giving a user a level greater than one's own.
    LevelUsersNew,
    /// Redacting another server's event without the required power level.
    Redaction,
}

impl Rule {
    /// The rule's number in the authorization rules of this room version, e.g. `"4.3.2"`; `""` if the version
    /// does not have the rule.
    ///
    /// The numbers are those of the rendered page: the source of room version 12 skips 3.4 and repeats 10.10.
    pub fn number(self, version: &RoomVersion) -> &'static str {
        // Room versions            1-2       3-5       6         7         8-9       10        11        12
        let numbers: [&str; 8] = match self {
            Self::CreatePrevEvents => ["1.1"; 8],
            Self::CreateRoomId => ["1.2"; 8],
            Self::CreateRoomVersion => ["1.3"; 8],
            Self::CreateCreator => ["1.4", "1.4", "1.4", "1.4", "1.4", "1.4", "", ""],
            Self::CreateAdditionalCreators => ["", "", "", "", "", "", "", "1.4"],
            Self::RoomIdOfCreateEvent => ["", "", "", "", "", "", "", "2"],
            Self::AuthEvents => ["2", "2", "2", "2", "2", "2", "2", "3"],
            Self::AuthEventsDuplicate => ["2.1", "2.1", "2.1", "2.1", "2.1", "2.1", "2.1", "3.1"],
            Self::AuthEventsNotSelected => ["2.2", "2.2", "2.2", "2.2", "2.2", "2.2", "2.2", "3.2"],
            Self::AuthEventsRejected => ["2.3", "2.3", "2.3", "2.3", "2.3", "2.3", "2.3", "3.3"],
            Self::AuthEventsNoCreate => ["2.4", "2.4", "2.4", "2.4", "2.4", "2.4", "2.4", ""],
            Self::AuthEventsOtherRoom => ["2.5", "2.5", "2.5", "2.5", "2.5", "2.5", "2.5", "3.4"],
            Self::NotFederated => ["3", "3", "3", "3", "3", "3", "3", "4"],
            Self::AliasesNoStateKey => ["4.1", "4.1", "", "", "", "", "", ""],
            Self::AliasesOtherServer => ["4.2", "4.2", "", "", "", "", "", ""],
            Self::MemberMalformed => ["5.1", "5.1", "4.1", "4.1", "4.1", "4.1", "4.1", "5.1"],
            Self::MemberNotSignedByAuthorizer => ["", "", "", "", "4.2.1", "4.2.1", "4.2.1", "5.2.1"],
            Self::JoinOfOther => ["5.2.2", "5.2.2", "4.2.2", "4.2.2", "4.3.2", "4.3.2", "4.3.2", "5.3.2"],
            Self::JoinBanned => ["5.2.3", "5.2.3", "4.2.3", "4.2.3", "4.3.3", "4.3.3", "4.3.3", "5.3.3"],
            Self::JoinNotAuthorized => ["", "", "", "", "4.3.5.2", "4.3.5.2", "4.3.5.2", "5.3.5.2"],
            Self::JoinOtherwise => ["5.2.6", "5.2.6", "4.2.6", "4.2.6", "4.3.7", "4.3.7", "4.3.7", "5.3.7"],
            Self::ThirdPartyBanned => {
                ["5.3.1.1", "5.3.1.1", "4.3.1.1", "4.3.1.1", "4.4.1.1", "4.4.1.1", "4.4.1.1", "5.4.1.1"]
            }
            Self::ThirdPartyNotSigned => {
                ["5.3.1.2", "5.3.1.2", "4.3.1.2", "4.3.1.2", "4.4.1.2", "4.4.1.2", "4.4.1.2", "5.4.1.2"]
            }
            Self::ThirdPartyMalformed => {
                ["5.3.1.3", "5.3.1.3", "4.3.1.3", "4.3.1.3", "4.4.1.3", "4.4.1.3", "4.4.1.3", "5.4.1.3"]
            }
            Self::ThirdPartyOtherUser => {
                ["5.3.1.4", "5.3.1.4", "4.3.1.4", "4.3.1.4", "4.4.1.4", "4.4.1.4", "4.4.1.4", "5.4.1.4"]
            }
            Self::ThirdPartyUnknownToken => {
                ["5.3.1.5", "5.3.1.5", "4.3.1.5", "4.3.1.5", "4.4.1.5", "4.4.1.5", "4.4.1.5", "5.4.1.5"]
            }
            Self::ThirdPartyOtherSender => {
                ["5.3.1.6", "5.3.1.6", "4.3.1.6", "4.3.1.6", "4.4.1.6", "4.4.1.6", "4.4.1.6", "5.4.1.6"]
            }
            Self::ThirdPartyOtherwise => {
                ["5.3.1.8", "5.3.1.8", "4.3.1.8", "4.3.1.8", "4.4.1.8", "4.4.1.8", "4.4.1.8", "5.4.1.8"]
            }
            Self::InviteSenderNotJoined => {
                ["5.3.2", "5.3.2", "4.3.2", "4.3.2", "4.4.2", "4.4.2", "4.4.2", "5.4.2"]
            }
            Self::InviteTarget => ["5.3.3", "5.3.3", "4.3.3", "4.3.3", "4.4.3", "4.4.3", "4.4.3", "5.4.3"],
            Self::InviteOtherwise => ["5.3.5", "5.3.5", "4.3.5", "4.3.5", "4.4.5", "4.4.5", "4.4.5", "5.4.5"],
            Self::LeaveNotIn => ["5.4.1", "5.4.1", "4.4.1", "4.4.1", "4.5.1", "4.5.1", "4.5.1", "5.5.1"],
            Self::LeaveSenderNotJoined => {
                ["5.4.2", "5.4.2", "4.4.2", "4.4.2", "4.5.2", "4.5.2", "4.5.2", "5.5.2"]
            }
            Self::LeaveUnban => ["5.4.3", "5.4.3", "4.4.3", "4.4.3", "4.5.3", "4.5.3", "4.5.3", "5.5.3"],
            Self::LeaveOtherwise => ["5.4.5", "5.4.5", "4.4.5", "4.4.5", "4.5.5", "4.5.5", "4.5.5", "5.5.5"],
            Self::BanSenderNotJoined => {
                ["5.5.1", "5.5.1", "4.5.1", "4.5.1", "4.6.1", "4.6.1", "4.6.1", "5.6.1"]
            }
            Self::BanOtherwise => ["5.5.3", "5.5.3", "4.5.3", "4.5.3", "4.6.3", "4.6.3", "4.6.3", "5.6.3"],
            Self::KnockJoinRule => ["", "", "", "4.6.1", "4.7.1", "4.7.1", "4.7.1", "5.7.1"],
            Self::KnockOfOther => ["", "", "", "4.6.2", "4.7.2", "4.7.2", "4.7.2", "5.7.2"],
            Self::KnockOtherwise => ["", "", "", "4.6.4", "4.7.4", "4.7.4", "4.7.4", "5.7.4"],
            Self::MembershipUnknown => ["5.6", "5.6", "4.6", "4.7", "4.8", "4.8", "4.8", "5.8"],
            Self::SenderNotJoined => ["6", "6", "5", "5", "5", "5", "5", "6"],
            Self::ThirdPartyInviteLevel => ["7.1", "7.1", "6.1", "6.1", "6.1", "6.1", "6.1", "7.1"],
            Self::RequiredPowerLevel => ["8", "8", "7", "7", "7", "7", "7", "8"],
            Self::StateKeyOfOther => ["9", "9", "8", "8", "8", "8", "8", "9"],
            Self::LevelsNotIntegers => ["", "", "", "", "", "9.1", "9.1", "10.1"],
            Self::LevelMapsNotIntegers => ["", "", "", "", "", "9.2", "9.2", "10.2"],
            Self::LevelUsersMalformed => ["10.1", "10.1", "9.1", "9.1", "9.1", "9.3", "9.3", "10.3"],
            Self::LevelUsersCreator => ["", "", "", "", "", "", "", "10.4"],
            Self::LevelCurrent => ["10.3.1", "10.3.1", "9.3.1", "9.3.1", "9.3.1", "9.5.1", "9.5.1", "10.6.1"],
            Self::LevelNew => ["10.3.2", "10.3.2", "9.3.2", "9.3.2", "9.3.2", "9.5.2", "9.5.2", "10.6.2"],
            Self::LevelEventsCurrent => {
                ["10.4.1", "10.4.1", "9.4.1", "9.4.1", "9.4.1", "9.6.1", "9.6.1", "10.7.1"]
            }
            Self::LevelEventsNew => {
                ["10.5.1", "10.5.1", "9.5.1", "9.5.1", "9.5.1", "9.7.1", "9.7.1", "10.8.1"]
            }
            Self::LevelUsersCurrent => {
                ["10.6.1", "10.6.1", "9.6.1", "9.6.1", "9.6.1", "9.8.1", "9.8.1", "10.9.1"]
            }
            Self::LevelUsersNew => {
                ["10.7.1", "10.7.1", "9.7.1", "9.7.1", "9.7.1", "9.9.1", "9.9.1", "10.10.1"]
            }
            Self::Redaction => ["11.3", "", "", "", "", "", "", ""],
        };
        let column = match version.auth_rules_text {
            AuthRulesText::V1 => 0,
            AuthRulesText::V3 => 1,
            AuthRulesText::V6 => 2,
            AuthRulesText::V7 => 3,
            AuthRulesText::V8 => 4,
            AuthRulesText::V10 => 5,
            AuthRulesText::V11 => 6,
            AuthRulesText::V12 => 7,
        };
        numbers[column]
    }
}

/// Why an event was rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}: {reason}")]
pub struct Rejection {
    /// The rule.
    pub cause: Rule,
    /// The rule's number in the authorization rules of the event's room version, e.g. `"4.3.2"`.
    pub rule: &'static str,
    /// What was wrong, as text for people.
    pub reason: String,
}

impl Rejection {
    /// A rejection by this rule.
    pub fn new(version: &RoomVersion, rule: Rule, reason: impl Into<String>) -> Self {
        Self { cause: rule, rule: rule.number(version), reason: reason.into() }
    }

    /// Makes a rejection by this rule of a level that it needs and cannot read.
    pub(crate) fn because(version: &RoomVersion, rule: Rule) -> impl Fn(MalformedLevel) -> Self + Copy {
        move |malformed| Self::new(version, rule, malformed.to_string())
    }
}
