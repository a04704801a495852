use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::{Event, RoomVersion, ancestors, room_version};

fn version() -> &'static RoomVersion {
    room_version("11").expect("a room version")
}

/// An event, and its id.
fn event(name: &str, prev: &[&str]) -> (String, Value) {
    let json = json!({
        "type": "m.room.message", "room_id": "!room:a.example", "sender": "@user:a.example", "depth": 1,
        "origin_server_ts": 1, "prev_events": prev, "auth_events": [], "content": {"body": name},
        "hashes": {"sha256": ""}, "signatures": {},
    });
    let object = json.as_object().cloned().expect("an object");
    (Event::from_pdu(version(), object).expect("an event").event_id().to_owned(), json)
}

fn bodies(pdus: &[Value], wanted: &[String]) -> Vec<String> {
    let raw: Vec<_> = pdus.iter().map(|pdu| to_raw_value(pdu).expect("JSON")).collect();
    let raw: Vec<&RawValue> = raw.iter().map(AsRef::as_ref).collect();
    let mut bodies: Vec<String> = ancestors(version(), &raw, wanted)
        .iter()
        .map(|text| serde_json::from_str::<Value>(text).expect("JSON")["content"]["body"].to_string())
        .collect();
    bodies.sort();
    bodies
}

#[test]
fn only_what_was_asked_for_and_what_is_before_it_is_taken() {
    let (first_id, first) = event("first", &["$unknown"]);
    let (second_id, second) = event("second", &[&first_id]);
    let (after_id, after) = event("after", &[&second_id]);
    let (_, stranger) = event("stranger", &[&after_id]);
    let mut noted = second;
    noted["unsigned"] = json!({"age": 5});
    let pdus = [stranger, after, noted, first];
    assert_eq!(bodies(&pdus, &[second_id]), ["\"first\"", "\"second\""]);
    assert_eq!(bodies(&pdus, &["$other".to_owned()]), Vec::<String>::new());
}

#[test]
fn what_comes_twice_or_is_no_event_does_no_harm() {
    let (id, one) = event("one", &[]);
    let pdus = [json!(null), json!(7), json!([]), json!({}), json!({"type": 1}), one.clone(), one];
    assert_eq!(bodies(&pdus, &[id.clone(), id]), ["\"one\""]);
}
