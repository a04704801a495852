#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::{
    Document, JsonError, MAX_NESTING, MAX_PDU_NESTING, parse_leniently, parse_object, parse_pdu, parse_value,
};
use crate::{Map, hash::content_hash};

#[test]
fn values_are_parsed() {
    let text = r#" { "b": [1, -2, 1.5, 1e3, true, false, null, "é\u00e9\ud83d\ude00\u0000"], "a": {} } "#;
    let expected = json!({ "a": {}, "b": [1, -2, 1.5, 1000.0, true, false, null, "éé😀\0"] });
    assert_eq!(parse_value(text).unwrap(), expected);
    assert_eq!(parse_value("18446744073709551615").unwrap(), json!(u64::MAX));
    assert_eq!(parse_value("-9223372036854775808").unwrap(), json!(i64::MIN));
}

#[test]
fn duplicate_keys_are_refused() {
    let duplicate = |text| parse_value(text).unwrap_err();
    assert_eq!(duplicate(r#"{"a":1,"a":1}"#), JsonError::DuplicateKey("a".to_owned()));
    assert_eq!(duplicate(r#"[{"x":{"é":1,"\u00e9":2}}]"#), JsonError::DuplicateKey("é".to_owned()));
    parse_value(r#"{"a":{"a":1},"b":{"a":1}}"#).unwrap();
}

#[test]
fn nesting_is_limited() {
    let arrays = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
    for nested in [&arrays as &dyn Fn(usize) -> String, &objects] {
        parse_value(&nested(MAX_NESTING)).unwrap();
        assert_eq!(parse_value(&nested(MAX_NESTING + 1)), Err(JsonError::TooDeep(MAX_NESTING)));
        assert_eq!(parse_value(&nested(100_000)), Err(JsonError::TooDeep(MAX_NESTING)));
    }
    let unclosed = "[".repeat(1_000_000);
    assert_eq!(parse_value(&unclosed), Err(JsonError::TooDeep(MAX_NESTING)));
}

#[test]
fn what_is_not_json_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "{}x",
        "{} {}",
        "nul",
        "NaN",
        "Infinity",
        "'a'",
        "{a:1}",
        "[1,]",
        "01",
        "+1",
        ".5",
        "\"\n\"",
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\x""#,
        "1e999",
    ] {
        assert!(matches!(parse_value(text), Err(JsonError::NotJson(_))), "{text}");
    }
}

#[test]
fn what_is_not_an_object_is_refused() {
    for text in ["[]", "1", "null", "\"{}\""] {
        assert_eq!(parse_object(text), Err(JsonError::NotAnObject));
    }
    assert_eq!(parse_object("{}").unwrap(), Map::new());
}

#[test]
fn keys_are_sorted_by_code_point() {
    // By UTF-16 units, 😀 would come before ｡.
    let object = parse_object(r#"{"😀":1,"｡":2,"b":3,"B":4,"":5}"#).unwrap();
    let keys: Vec<_> = object.keys().collect();
    assert_eq!(keys, ["", "B", "b", "｡", "😀"]);
}

#[test]
fn numbers_of_a_pdu_stay_as_they_stand() {
    let numbers = [
        "1",
        "1.0",
        "1.50",
        "1E5",
        "1e10",
        "-0",
        "-0.0",
        "1e-5",
        "1e-07",
        "9007199254740993",
        "1180591620717411303424",
        "0.1000",
        "1e+16",
    ];
    for number in numbers {
        let text = format!(r#"{{"b":{{"x":[{{"n":{number}}},"1.50"]}},"a\"{number}":{number}}}"#);
        let canonical = format!(r#"{{"a\"{number}":{number},"b":{{"x":[{{"n":{number}}},"1.50"]}}}}"#);
        let pdu = parse_pdu(&text).unwrap();
        assert_eq!(pdu.to_canonical(), canonical);
        assert_eq!(Document::parse(&text).unwrap().canonical(), canonical);
        assert_eq!(parse_pdu(&canonical).unwrap(), pdu);
    }
    // The hash is over the text: different texts of one number have different hashes.
    let hash = |text| content_hash(&parse_pdu(text).unwrap());
    assert_ne!(hash(r#"{"n":1.50}"#), hash(r#"{"n":1.5}"#));
    assert_eq!(hash(r#"{ "n" : 1.50 }"#), hash(r#"{"n":1.50,"unsigned":{"n":1.0}}"#));
}

#[test]
fn pdus_are_nested_as_deeply_as_stored_ones_are_read() {
    let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels - 1), "]".repeat(levels - 1));
    let deepest = parse_pdu(&nested(MAX_PDU_NESTING)).unwrap().to_canonical();
    serde_json::from_str::<Map>(&deepest).unwrap();
    parse_pdu(&nested(MAX_PDU_NESTING + 1)).unwrap_err();
    parse_pdu(&nested(1_000_000)).unwrap_err();
}

#[test]
fn a_document_is_taken_apart_whatever_is_in_it() {
    let canonical = |text: &str| Document::parse(text).map(|document| document.canonical());
    for (text, expected) in [
        (r#" { "b" : [ 1E5 , true ] , "a" : "\u00e9\/" } "#, r#"{"a":"é/","b":[1E5,true]}"#),
        (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        (r#"{"a":"\ud800","b":1e999}"#, r#"{"a":"\ud800","b":1e999}"#),
        ("[]", "[]"),
        ("{}", "{}"),
        ("-0.0e+5", "-0.0e+5"),
    ] {
        assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
    }
    let deep = format!("{}{}", "[".repeat(500_000), "]".repeat(500_000));
    assert_eq!(canonical(&deep), Ok(deep));
    for text in [
        "",
        "{",
        "[",
        "[1",
        "[1,",
        "[1,]",
        r#"{"a""#,
        r#"{"a":"#,
        r#"{"a":1,}"#,
        "{a:1}",
        "{} {}",
        "nul",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "--1",
        "\"",
        "\"\n\"",
        r#""\x""#,
        r#""\u12""#,
        "]",
        "}",
        ",",
        "{1:2}",
        "NaN",
    ] {
        assert!(canonical(text).is_err(), "{text}");
    }
}

#[test]
fn a_lenient_reading_loses_only_what_cannot_be_read() {
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let text = format!(r#"{{"deep":{deep},"big":1e999,"half":"\ud800","good":[1.5,{{"a":"b"}}]}}"#);
    let read = parse_leniently(&text, 100).unwrap();
    assert_eq!(read["good"], json!([1.5, { "a": "b" }]));
    assert_eq!((&read["big"], &read["half"]), (&json!(null), &json!(null)));
    assert!(read["deep"].is_array());
    assert_eq!(parse_leniently("[]", 100), Err(JsonError::NotAnObject));
}
