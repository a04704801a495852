#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

use super::{generated_localpart, login_candidates, new_localpart};

#[test]
fn names_of_the_grammar_are_taken_and_upper_case_is_folded() {
    for name in ["alice", "a", "0", "a.b_c=d-e/f+g", "_service"] {
        assert_eq!(new_localpart(name, "example.org").unwrap(), name);
    }
    assert_eq!(new_localpart("AliCe", "example.org").unwrap(), "alice");
}

#[test]
fn other_names_are_invalid() {
    for name in ["", "a b", "@a", "a:b", "é", "İ", "a\0", "a\n", "a*", "@a:example.org"] {
        assert_eq!(new_localpart(name, "example.org").unwrap_err().errcode, "M_INVALID_USERNAME", "{name:?}");
    }
}

#[test]
fn a_user_id_has_at_most_255_bytes() {
    let longest = 255 - "@:example.org".len();
    assert!(new_localpart(&"a".repeat(longest), "example.org").is_ok());
    assert!(new_localpart(&"a".repeat(longest + 1), "example.org").is_err());
}

#[test]
fn generated_names_fit_the_grammar_and_differ() {
    let name = generated_localpart();
    assert_eq!(new_localpart(&name, "example.org").unwrap(), name);
    assert_ne!(name, generated_localpart());
}

#[test]
fn a_login_name_is_a_localpart_or_a_full_id() {
    let alice = ["@Alice:example.org:8448".to_owned(), "@alice:example.org:8448".to_owned()];
    assert_eq!(login_candidates("Alice", "example.org:8448"), Some(alice.clone()));
    assert_eq!(login_candidates("@Alice:example.org:8448", "example.org:8448"), Some(alice));
    for foreign in ["@alice:elsewhere.org", "@alice", "@", "a\0", "alice:example.org:8448"] {
        assert_eq!(login_candidates(foreign, "example.org:8448"), None, "{foreign:?}");
    }
}
