//! Room versions as values: a struct with one switch for each difference, and one constant for each version.
//!
//! Code reads switches, such as `version.restricted_joins`, and never compares version numbers.
//! Spec: [Room versions](https://spec.matrix.org/v1.19/rooms/).

/// Where an event's id comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventIdFormat {
    /// `$opaque:server`, chosen by the sender's server and written in the event's `event_id`. In these
    /// versions `auth_events` and `prev_events` contain pairs of an id and a hash, the authorization rules
    /// compare the domains of event ids for redactions, and the server named in the id signs the event too.
    InEvent,
    /// `$` and the reference hash in standard unpadded base64.
    ReferenceHash,
    /// `$` and the reference hash in URL-safe unpadded base64.
    UrlSafeReferenceHash,
}

/// Which algorithm resolves conflicted state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateResolution {
    /// Room version 1: by depth and hash of the event id.
    V1,
    /// Room versions 2 to 11: power events by reverse topological order, then mainline order.
    V2,
    /// Room version 12: as V2, from an empty state and with the conflicted state subgraph.
    V2_1,
}

/// The versions of the text of the authorization rules. They number the same rules differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRulesText {
    /// Room versions 1 and 2.
    V1,
    /// Room versions 3 to 5.
    V3,
    /// Room version 6.
    V6,
    /// Room version 7.
    V7,
    /// Room versions 8 and 9.
    V8,
    /// Room version 10.
    V10,
    /// Room version 11.
    V11,
    /// Room version 12.
    V12,
}

/// A room version: everything that differs between versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomVersion {
    /// The version's identifier, as in `content.room_version` of the create event.
    pub id: &'static str,

    /// Where an event's id comes from.
    pub event_id_format: EventIdFormat,
    /// The room's id is the create event's id with the sigil `!`: the create event has no `room_id`, and is
    /// never among `auth_events`. Since 12.
    pub room_id_is_create_event_id: bool,
    /// Events must be canonical JSON: no floats, no integers beyond 2^53 - 1. Since 6.
    pub strict_canonical_json: bool,
    /// A signing key must have been valid at the event's `origin_server_ts`. Since 5.
    pub enforce_key_validity: bool,
    /// Which algorithm resolves conflicted state.
    pub state_resolution: StateResolution,
    /// `redacts` is in the `content` of `m.room.redaction`, instead of beside it. Since 11.
    pub redacts_in_content: bool,

    /// Redaction keeps `origin`, `membership` and `prev_state` at the top level. Until 10.
    pub redaction_keeps_legacy_fields: bool,
    /// Redaction keeps `aliases` of `m.room.aliases`. Until 5.
    pub redaction_keeps_aliases: bool,
    /// Redaction keeps `allow` of `m.room.join_rules`. Since 8.
    pub redaction_keeps_join_rules_allow: bool,
    /// Redaction keeps `join_authorised_via_users_server` of `m.room.member`. Since 9.
    pub redaction_keeps_join_authorized: bool,
    /// Redaction keeps `third_party_invite.signed` of `m.room.member`. Since 11.
    pub redaction_keeps_third_party_signed: bool,
    /// Redaction keeps all content of `m.room.create`, instead of `creator` alone. Since 11.
    pub redaction_keeps_create_content: bool,
    /// Redaction keeps `invite` of `m.room.power_levels`. Since 11.
    pub redaction_keeps_invite_level: bool,
    /// Redaction keeps `redacts` in the content of `m.room.redaction`. Since 11.
    pub redaction_keeps_redacts: bool,

    /// Which text of the authorization rules applies. Only for the numbers of the rules.
    pub auth_rules_text: AuthRulesText,
    /// The authorization rules require the redact level for `m.room.redaction`. Until 2.
    pub special_case_redaction: bool,
    /// The authorization rules let a server set its own `m.room.aliases`. Until 5.
    pub special_case_aliases: bool,
    /// Changes in `notifications` of `m.room.power_levels` are limited like those in `events`. Since 6.
    pub limit_notifications_levels: bool,
    /// The membership and the join rule `knock`. Since 7.
    pub knocking: bool,
    /// The join rule `restricted`. Since 8.
    pub restricted_joins: bool,
    /// The join rule `knock_restricted`. Since 10.
    pub knock_restricted_joins: bool,
    /// Power levels must be integers: no strings. Since 10.
    pub integer_power_levels: bool,
    /// The room's creator is the create event's sender, instead of its `content.creator`. Since 11.
    pub creator_is_sender: bool,
    /// Creators (the sender and `content.additional_creators` of the create event) have an infinite power
    /// level, and cannot be named in `m.room.power_levels`. Since 12.
    pub privileged_creators: bool,
}

impl RoomVersion {
    /// Whether events carry their own id (and pairs in `auth_events` and `prev_events`): versions 1 and 2.
    pub fn event_id_in_event(&self) -> bool {
        self.event_id_format == EventIdFormat::InEvent
    }

    /// The greatest `depth` of an event. Further events of a room that has reached it have the same depth.
    pub fn max_depth(&self) -> i64 {
        if self.strict_canonical_json { crate::canonical_json::MAX_INTEGER } else { i64::MAX }
    }
}

const V1: RoomVersion = RoomVersion {
    id: "1",
    event_id_format: EventIdFormat::InEvent,
    room_id_is_create_event_id: false,
    strict_canonical_json: false,
    enforce_key_validity: false,
    state_resolution: StateResolution::V1,
    redacts_in_content: false,
    redaction_keeps_legacy_fields: true,
    redaction_keeps_aliases: true,
    redaction_keeps_join_rules_allow: false,
    redaction_keeps_join_authorized: false,
    redaction_keeps_third_party_signed: false,
    redaction_keeps_create_content: false,
    redaction_keeps_invite_level: false,
    redaction_keeps_redacts: false,
    auth_rules_text: AuthRulesText::V1,
    special_case_redaction: true,
    special_case_aliases: true,
    limit_notifications_levels: false,
    knocking: false,
    restricted_joins: false,
    knock_restricted_joins: false,
    integer_power_levels: false,
    creator_is_sender: false,
    privileged_creators: false,
};

const V2: RoomVersion = RoomVersion { id: "2", state_resolution: StateResolution::V2, ..V1 };

const V3: RoomVersion = RoomVersion {
    id: "3",
    event_id_format: EventIdFormat::ReferenceHash,
    auth_rules_text: AuthRulesText::V3,
    special_case_redaction: false,
    ..V2
};

const V4: RoomVersion = RoomVersion { id: "4", event_id_format: EventIdFormat::UrlSafeReferenceHash, ..V3 };

const V5: RoomVersion = RoomVersion { id: "5", enforce_key_validity: true, ..V4 };

const V6: RoomVersion = RoomVersion {
    id: "6",
    strict_canonical_json: true,
    redaction_keeps_aliases: false,
    auth_rules_text: AuthRulesText::V6,
    special_case_aliases: false,
    limit_notifications_levels: true,
    ..V5
};

const V7: RoomVersion = RoomVersion { id: "7", auth_rules_text: AuthRulesText::V7, knocking: true, ..V6 };

const V8: RoomVersion = RoomVersion {
    id: "8",
    redaction_keeps_join_rules_allow: true,
    auth_rules_text: AuthRulesText::V8,
    restricted_joins: true,
    ..V7
};

const V9: RoomVersion = RoomVersion { id: "9", redaction_keeps_join_authorized: true, ..V8 };

const V10: RoomVersion = RoomVersion {
    id: "10",
    auth_rules_text: AuthRulesText::V10,
    knock_restricted_joins: true,
    integer_power_levels: true,
    ..V9
};

const V11: RoomVersion = RoomVersion {
    id: "11",
    redacts_in_content: true,
    redaction_keeps_legacy_fields: false,
    redaction_keeps_third_party_signed: true,
    redaction_keeps_create_content: true,
    redaction_keeps_invite_level: true,
    redaction_keeps_redacts: true,
    auth_rules_text: AuthRulesText::V11,
    creator_is_sender: true,
    ..V10
};

const V12: RoomVersion = RoomVersion {
    id: "12",
    room_id_is_create_event_id: true,
    state_resolution: StateResolution::V2_1,
    auth_rules_text: AuthRulesText::V12,
    privileged_creators: true,
    ..V11
};

/// All room versions of the specification, oldest first.
pub static ALL: [RoomVersion; 12] = [V1, V2, V3, V4, V5, V6, V7, V8, V9, V10, V11, V12];

/// The room version with this identifier; `None` if it is not recognized.
pub fn room_version(id: &str) -> Option<&'static RoomVersion> {
    ALL.iter().find(|version| version.id == id)
}

#[cfg(test)]
mod tests;
