#![allow(clippy::unwrap_used, reason = "for tests")]

use super::*;

/// Parses a text that arrives in pieces of `piece` bytes.
fn read_text(text: &str, piece: usize) -> (Result<Rest, String>, Vec<(Part, String)>) {
    let (sender, receiver) = mpsc::channel(text.len() / piece + 1);
    for chunk in text.as_bytes().chunks(piece) {
        sender.try_send(Bytes::copy_from_slice(chunk)).unwrap();
    }
    drop(sender);
    let mut events = Vec::new();
    let read = read(receiver, |part, text| {
        events.push((part, text));
        Ok(())
    });
    (read, events)
}

#[test]
fn events_come_one_by_one() {
    let text = r#"{"origin": "a", "state": [{"a": "]}\""}, 5],
        "servers_in_room": ["b", 3], "members_omitted": true,
        "auth_chain": [{"c": [1, {}]}], "event": {"d": 1}, "more": [[{}]]}"#;
    for piece in [1, 7, 1000] {
        let (rest, events) = read_text(text, piece);
        let rest = rest.unwrap();
        assert_eq!((rest.members_omitted, rest.event), (true, Some(r#"{"d": 1}"#.to_owned())));
        assert_eq!(rest.servers_in_room, ["b"]);
        let expected =
            [(Part::State, r#"{"a": "]}\""}"#), (Part::State, "5"), (Part::AuthChain, r#"{"c": [1, {}]}"#)];
        assert_eq!(events, expected.map(|(part, text)| (part, text.to_owned())));
    }
}

#[test]
fn what_is_not_such_an_answer_is_refused() {
    for text in
        ["", "[]", "{", r#"{"state": [{}"#, r#"{"state": [{} {}]}"#, r#"{"state": {}}"#, "{} {}", "nul"]
    {
        assert!(read_text(text, 3).0.is_err(), "{text}");
    }
}

#[test]
fn a_value_may_not_go_on_for_ever() {
    let long = "x".repeat(2 * MAX_VALUE);
    for text in [
        format!(r#"{{"state": ["{long}"]}}"#),
        format!(r#"{{"event": "{long}"}}"#),
        format!(r#"{{"{long}": 1}}"#),
        format!(r#"{{"servers_in_room": ["{long}"]}}"#),
    ] {
        assert!(read_text(&text, BUFFER).0.unwrap_err().contains("too long"));
    }
    let event = format!(r#"{{"x": "{}"}}"#, "x".repeat(BUFFER));
    let many = format!(r#"{{"more": "{long}", "state": [{}]}}"#, vec![event; 40].join(","));
    let (rest, events) = read_text(&many, BUFFER);
    assert!(rest.is_ok());
    assert_eq!(events.len(), 40);
}

#[test]
fn who_takes_may_end_it() {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(Bytes::from_static(br#"{"state": [1, 2]}"#)).unwrap();
    drop(sender);
    let error = read(receiver, |_, _| Err("enough".to_owned())).unwrap_err();
    assert!(error.contains("enough"));
}
