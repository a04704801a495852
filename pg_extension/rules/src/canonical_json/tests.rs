#![allow(clippy::unwrap_used, reason = "tests")]

use serde_json::json;

use super::{CanonicalJsonError, MAX_INTEGER, object_to_canonical, to_canonical, to_canonical_lenient};
use crate::json::{parse_object, parse_value};

#[test]
fn strings_are_escaped_as_little_as_can_be() {
    let all: String = (0..=0x80u8).map(char::from).collect();
    let escaped = to_canonical(&all.clone().into()).unwrap();
    let expected = concat!(
        r#""\u0000\u0001\u0002\u0003\u0004\u0005\u0006\u0007\b\t\n\u000b\f\r\u000e\u000f"#,
        r#"\u0010\u0011\u0012\u0013\u0014\u0015\u0016\u0017\u0018\u0019\u001a\u001b\u001c\u001d\u001e\u001f"#,
        r##" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ"##,
        r##"[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"##,
        "\u{7f}\u{80}\""
    );
    assert_eq!(escaped, expected);
    assert_eq!(parse_value(&escaped).unwrap(), all);
    assert_eq!(to_canonical(&"/\u{2028}😀".into()).unwrap(), "\"/\u{2028}😀\"");
}

#[test]
fn integers_are_limited() {
    for integer in [0, 1, -1, MAX_INTEGER, -MAX_INTEGER] {
        assert_eq!(to_canonical(&integer.into()).unwrap(), integer.to_string());
    }
    for integer in [MAX_INTEGER + 1, -MAX_INTEGER - 1, i64::MAX, i64::MIN] {
        let error = to_canonical(&json!([{ "a": integer }])).unwrap_err();
        assert_eq!(error, CanonicalJsonError::IntegerOutOfRange(integer.into()));
        assert_eq!(to_canonical_lenient(&integer.into()), integer.to_string());
    }
    let unsigned = json!(u64::MAX);
    to_canonical(&unsigned).unwrap_err();
    assert_eq!(to_canonical_lenient(&unsigned), "18446744073709551615");
}

#[test]
fn floats_are_refused_or_written_as_python_does() {
    // The right column is what `json.dumps(json.loads(text))` of Python 3 gives, but for the first and the
    // last, which Python reads as integers.
    for (text, lenient) in [
        ("-0", "-0.0"),
        ("-0.0", "-0.0"),
        ("0.0", "0.0"),
        ("1.0", "1.0"),
        ("1e2", "100.0"),
        ("-5.0E1", "-50.0"),
        ("0.5", "0.5"),
        ("50.57", "50.57"),
        ("0.1000", "0.1"),
        ("0.0001", "0.0001"),
        ("0.00001", "1e-05"),
        ("-1.5e-7", "-1.5e-07"),
        ("1e-100", "1e-100"),
        ("2.2250738585072014e-308", "2.2250738585072014e-308"),
        ("5e-324", "5e-324"),
        ("9007199254740993.0", "9007199254740992.0"),
        ("1e15", "1000000000000000.0"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("1e16", "1e+16"),
        ("1.5e16", "1.5e+16"),
        ("1e300", "1e+300"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("123456789012345678901234567890", "1.2345678901234568e+29"),
    ] {
        let value = parse_value(text).unwrap();
        assert!(matches!(to_canonical(&value), Err(CanonicalJsonError::Float(_))), "{text}");
        assert_eq!(to_canonical_lenient(&value), lenient, "{text}");
    }
}

#[test]
fn keys_are_sorted_at_all_levels() {
    let object = parse_object(r#"{"b":{"d":1,"c":[{"z":1,"y":2}]},"a":"x"}"#).unwrap();
    let canonical = object_to_canonical(&object).unwrap();
    assert_eq!(canonical, r#"{"a":"x","b":{"c":[{"y":2,"z":1}],"d":1}}"#);
    let error = parse_object(r#"{"a":[1.5]}"#).unwrap();
    object_to_canonical(&error).unwrap_err();
}
