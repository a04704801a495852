#![allow(clippy::unwrap_used, reason = "tests")]

use super::{ALL, AuthRulesText, EventIdFormat, RoomVersion, room_version};

/// The first and the last version in which a switch is on. It must be on in all versions between.
fn range(switch: impl Fn(&RoomVersion) -> bool) -> (usize, usize) {
    let on: Vec<_> = (1..=12).filter(|index| switch(&ALL[index - 1])).collect();
    let (first, last) = (*on.first().unwrap(), *on.last().unwrap());
    assert_eq!(on.len(), last - first + 1, "broken range {on:?}");
    (first, last)
}

#[test]
fn versions_are_found_by_their_identifier() {
    for (index, version) in ALL.iter().enumerate() {
        assert_eq!(version.id, (index + 1).to_string());
        assert_eq!(room_version(version.id), Some(version));
    }
    for unknown in ["", "0", "13", "01", "1 ", "org.example.1"] {
        assert_eq!(room_version(unknown), None);
    }
}

#[test]
fn switches_hold_for_the_versions_that_the_feature_matrix_names() {
    assert_eq!(range(RoomVersion::event_id_in_event), (1, 2));
    assert_eq!(range(|v| v.event_id_format == EventIdFormat::ReferenceHash), (3, 3));
    assert_eq!(range(|v| v.event_id_format == EventIdFormat::UrlSafeReferenceHash), (4, 12));
    assert_eq!(range(|v| v.room_id_is_create_event_id), (12, 12));
    assert_eq!(range(|v| v.strict_canonical_json), (6, 12));
    assert_eq!(range(|v| v.enforce_key_validity), (5, 12));
    assert_eq!(range(|v| v.redacts_in_content), (11, 12));
    assert_eq!(range(|v| v.redaction_keeps_legacy_fields), (1, 10));
    assert_eq!(range(|v| v.redaction_keeps_aliases), (1, 5));
    assert_eq!(range(|v| v.redaction_keeps_join_rules_allow), (8, 12));
    assert_eq!(range(|v| v.redaction_keeps_join_authorized), (9, 12));
    assert_eq!(range(|v| v.redaction_keeps_third_party_signed), (11, 12));
    assert_eq!(range(|v| v.redaction_keeps_create_content), (11, 12));
    assert_eq!(range(|v| v.redaction_keeps_invite_level), (11, 12));
    assert_eq!(range(|v| v.redaction_keeps_redacts), (11, 12));
    assert_eq!(range(|v| v.special_case_redaction), (1, 2));
    assert_eq!(range(|v| v.special_case_aliases), (1, 5));
    assert_eq!(range(|v| v.limit_notifications_levels), (6, 12));
    assert_eq!(range(|v| v.knocking), (7, 12));
    assert_eq!(range(|v| v.restricted_joins), (8, 12));
    assert_eq!(range(|v| v.knock_restricted_joins), (10, 12));
    assert_eq!(range(|v| v.integer_power_levels), (10, 12));
    assert_eq!(range(|v| v.creator_is_sender), (11, 12));
    assert_eq!(range(|v| v.privileged_creators), (12, 12));
    assert_eq!(range(|v| v.auth_rules_text == AuthRulesText::V3), (3, 5));
    assert_eq!(range(|v| v.auth_rules_text == AuthRulesText::V8), (8, 9));
}

#[test]
fn depth_is_limited_by_what_numbers_are_allowed() {
    assert_eq!(room_version("5").unwrap().max_depth(), i64::MAX);
    assert_eq!(room_version("6").unwrap().max_depth(), (1 << 53) - 1);
}
