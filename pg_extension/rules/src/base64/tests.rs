#![allow(clippy::unwrap_used, reason = "tests")]

use super::{decode, decode_any, encode, encode_url_safe};

#[test]
fn the_alphabets_differ_in_two_characters() {
    let bytes = [0xfb, 0xff, 0xfe];
    assert_eq!(encode(bytes), "+//+");
    assert_eq!(encode_url_safe(bytes), "-__-");
    assert_eq!(decode("+//+").unwrap(), bytes);
    decode("-__-").unwrap_err();
    assert_eq!(decode_any("+//+").unwrap(), bytes);
    assert_eq!(decode_any("-__-").unwrap(), bytes);
    decode_any("-/").unwrap_err();
}

#[test]
fn padding_and_trailing_bits_are_accepted() {
    for text in ["Zg", "Zg==", "Zh", "Zh=="] {
        assert_eq!(decode(text).unwrap(), b"f", "{text}");
    }
    for text in ["Z", "Zg=x", "Z g", "é"] {
        decode(text).unwrap_err();
    }
}
