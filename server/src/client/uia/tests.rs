#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use serde_json::{Map, Value, json};

use super::{Flows, Guard, Stage, UiaSession, is_complete, next_stages, seal};

const FLOWS: Flows = &[&[Stage::RegistrationToken, Stage::Dummy], &[Stage::Password]];

fn completed(stages: &[Stage]) -> Map<String, Value> {
    stages.iter().map(|stage| (stage.name().to_owned(), Value::Bool(true))).collect()
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn stages_come_in_the_order_of_their_flow() {
    let next = |stages: &[Stage]| next_stages(FLOWS, &completed(stages)).collect::<Vec<_>>();
    assert_eq!(next(&[]), [Stage::RegistrationToken, Stage::Password]);
    assert_eq!(next(&[Stage::RegistrationToken]), [Stage::Dummy, Stage::Password]);
}

#[test]
fn one_whole_flow_is_enough() {
    let complete = |stages: &[Stage]| is_complete(FLOWS, &completed(stages));
    assert!(!complete(&[]));
    assert!(!complete(&[Stage::RegistrationToken]));
    assert!(complete(&[Stage::RegistrationToken, Stage::Dummy]));
    assert!(complete(&[Stage::Password]));
}

#[test]
fn stages_are_known_by_their_names() {
    for stage in [Stage::Password, Stage::Dummy, Stage::RegistrationToken, Stage::Terms] {
        assert_eq!(Stage::named(stage.name()), Some(stage));
    }
    assert_eq!(Stage::named("m.login.sso"), None);
}

#[test]
fn a_later_body_repeats_the_first_or_is_left_out() {
    let first = object(&json!({"erase": true, "n": [1, {"a": 2}]}));
    let session = || UiaSession::new(first.clone());
    assert_eq!(session().with_body(Map::new()).unwrap().body, first);
    assert_eq!(session().with_body(first.clone()).unwrap().body, first);
    let Err(error) = session().with_body(object(&json!({"erase": false}))) else { panic!("taken") };
    assert_eq!((error.status.as_u16(), &*error.errcode), (403, "M_FORBIDDEN"));
}

#[test]
fn a_session_begun_with_nothing_takes_a_body_until_a_stage_is_complete() {
    let body = object(&json!({"username": "alice"}));
    let empty = || UiaSession::new(Map::new());
    assert_eq!(empty().with_body(body.clone()).unwrap().body, body);
    let begun = UiaSession { completed: completed(&[Stage::Dummy]), ..empty() };
    assert!(begun.with_body(body).is_err());
}

#[test]
fn a_challenge_tells_flows_session_and_what_is_complete() {
    let guard = Guard { operation: "POST /x", user: None, flows: FLOWS };
    let mut session = UiaSession::new(Map::new());
    assert_eq!(
        session.describe(&guard, &[], None),
        json!({
            "flows": [
                {"stages": ["m.login.registration_token", "m.login.dummy"]},
                {"stages": ["m.login.password"]},
            ],
            "params": {},
            "session": session.id,
            "completed": [],
        })
    );
    session.completed = completed(&[Stage::RegistrationToken]);
    let body = session.describe(&guard, &[], Some(("M_FORBIDDEN", "no")));
    assert_eq!(body["completed"], json!(["m.login.registration_token"]));
    assert_eq!((&body["errcode"], &body["error"]), (&json!("M_FORBIDDEN"), &json!("no")));
}

#[test]
fn what_is_sealed_opens_for_its_session_alone() {
    let sealed = seal::seal("session", b"new password".to_vec()).unwrap();
    assert_eq!(seal::open("session", &sealed).unwrap(), b"new password");
    assert_eq!(seal::open("another", &sealed), None);
    assert_eq!(seal::open("session", &sealed[..sealed.len() - 1]), None);
    assert_eq!(seal::open("session", b""), None);
    assert!(!sealed.windows(8).any(|window| window == b"password"));
    assert_ne!(sealed, seal::seal("session", b"new password".to_vec()).unwrap());
}
