#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use serde_json::{Value, json};

use super::Identifier;
use crate::base::error::ApiError;

fn of(value: &Value) -> Result<Identifier, ApiError> {
    Identifier::of(value.as_object().unwrap())
}

#[test]
fn users_are_named_by_identifier_or_the_deprecated_field() {
    let alice = Ok(Identifier::User("alice".to_owned()));
    assert_eq!(of(&json!({"identifier": {"type": "m.id.user", "user": "alice"}})), alice);
    assert_eq!(of(&json!({"identifier": {"type": "m.id.user", "user": "alice"}, "user": "bob"})), alice);
    assert_eq!(of(&json!({"user": "alice"})), alice);
}

#[test]
fn addresses_are_told_apart_from_nobody() {
    for value in [
        json!({"identifier": {"type": "m.id.thirdparty", "medium": "email", "address": "a@b"}}),
        json!({"identifier": {"type": "m.id.phone", "country": "GB", "phone": "1"}}),
        json!({"identifier": {"medium": "email", "address": "a@b"}}),
        json!({"medium": "email", "address": "a@b"}),
    ] {
        assert_eq!(of(&value), Ok(Identifier::ThirdParty), "{value}");
    }
    for value in [json!({}), json!({"identifier": null}), json!({"user": null}), json!({"identifier": {}})] {
        assert_eq!(of(&value), Ok(Identifier::Absent), "{value}");
    }
}

#[test]
fn malformed_ones_are_refused() {
    for (value, errcode) in [
        (json!({"identifier": "alice"}), "M_BAD_JSON"),
        (json!({"identifier": {"type": 1}}), "M_BAD_JSON"),
        (json!({"identifier": {"type": "m.id.user", "user": 1}}), "M_BAD_JSON"),
        (json!({"identifier": {"type": "m.id.user"}}), "M_MISSING_PARAM"),
        (json!({"identifier": {"type": "x"}}), "M_UNRECOGNIZED"),
        (json!({"user": ["alice"]}), "M_BAD_JSON"),
    ] {
        assert_eq!(of(&value).unwrap_err().errcode, errcode, "{value}");
    }
}
