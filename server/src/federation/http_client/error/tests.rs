use axum::http::StatusCode;
use serde_json::{Map, Value, json};

use super::{FederationError, Refusal};

fn refused(status: u16, errcode: &str, extra: Value) -> FederationError {
    FederationError::Refused {
        server: "s.example".to_owned(),
        status: StatusCode::from_u16(status).unwrap_or_default(),
        errcode: errcode.to_owned(),
        error: "Because.".to_owned(),
        extra: match extra {
            Value::Object(extra) => extra,
            _ => Map::new(),
        },
    }
}

#[test]
fn what_a_server_decided_comes_before_what_it_does_not_know_and_that_before_failures() {
    let cases = [
        (403, "M_FORBIDDEN", Refusal::Decided),
        (400, "M_UNABLE_TO_AUTHORISE_JOIN", Refusal::Decided),
        (400, "M_INCOMPATIBLE_ROOM_VERSION", Refusal::Decided),
        (404, "M_NOT_FOUND", Refusal::NotFound),
        (404, "", Refusal::NotServed),
        (404, "M_UNRECOGNIZED", Refusal::NotServed),
        (404, "M_UNABLE_DUE_TO_PARTIAL_STATE", Refusal::NotServed),
        (429, "M_LIMIT_EXCEEDED", Refusal::NotServed),
        (400, "M_BAD_JSON", Refusal::Failed),
        (403, "", Refusal::Failed),
        (403, "<html>", Refusal::Failed),
        (500, "M_FORBIDDEN", Refusal::Failed),
    ];
    for (status, errcode, refusal) in cases {
        assert_eq!(refused(status, errcode, json!({})).refusal(), refusal, "{status} {errcode}");
    }
    assert_eq!(FederationError::unreachable("s.example", "dns").refusal(), Refusal::Failed);
    assert!(Refusal::Decided < Refusal::NotFound && Refusal::NotServed < Refusal::Failed);
}

#[test]
fn clients_are_told_what_was_decided() {
    let error = refused(400, "M_INCOMPATIBLE_ROOM_VERSION", json!({ "room_version": "99" })).for_client();
    assert_eq!((error.status.as_u16(), &*error.errcode), (400, "M_INCOMPATIBLE_ROOM_VERSION"));
    assert_eq!((&*error.message, &error.extra["room_version"]), ("Because.", &json!("99")));
    let error = refused(404, "M_UNABLE_DUE_TO_PARTIAL_STATE", json!({})).for_client();
    assert_eq!((error.status.as_u16(), &*error.errcode), (404, "M_UNABLE_DUE_TO_PARTIAL_STATE"));
}

#[test]
fn clients_wait_as_long_as_the_other_server_says() {
    let error = refused(429, "M_LIMIT_EXCEEDED", json!({ "retry_after_ms": 1500 })).for_client();
    assert_eq!((error.status.as_u16(), error.retry_after), (429, Some(2)));
    assert_eq!(error.extra["retry_after_ms"], 1500);
    let error = refused(429, "M_OTHER", json!({ "retry_after_ms": -1 })).for_client();
    assert_eq!((&*error.errcode, error.retry_after, error.extra.len()), ("M_LIMIT_EXCEEDED", None, 0));
}

#[test]
fn everything_else_is_a_bad_gateway() {
    for (status, errcode) in
        [(404, ""), (400, "M_MISSING_PARAM"), (403, ""), (429, ""), (503, "M_UNKNOWN"), (401, "M_X")]
    {
        let error = refused(status, errcode, json!({})).for_client();
        assert_eq!((error.status.as_u16(), &*error.errcode), (502, "M_UNKNOWN"), "{status} {errcode}");
        assert_eq!(error.message, "The other server gave no usable answer");
    }
    let error = FederationError::unreachable("s.example", "dns error: 127.0.0.53").for_client();
    assert_eq!((error.status.as_u16(), &*error.message), (502, "The other server gave no usable answer"));
}
