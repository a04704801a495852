#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::{JsonError, MAX_NESTING, parse_object, parse_value};
use crate::Map;

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
        assert_eq!(parse_value(&nested(MAX_NESTING + 1)), Err(JsonError::TooDeep));
        assert_eq!(parse_value(&nested(100_000)), Err(JsonError::TooDeep));
    }
    let unclosed = "[".repeat(1_000_000);
    assert_eq!(parse_value(&unclosed), Err(JsonError::TooDeep));
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
